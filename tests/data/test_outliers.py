"""Pictures of other things: found, read, and what is near the ten classes left out."""

import io
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifar_model.data.outliers import FINE_NAMES, load_cifar100, load_outliers
from cifar_model.errors import DatasetError


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("CIFAR100_DIR", raising=False)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)


@pytest.fixture
def labels():
    return np.random.default_rng(1).permutation(100)[:60]


def pickled(pictures, labels):
    rows = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).reshape(len(pictures), -1)
    return pickle.dumps({b"data": rows, b"fine_labels": [int(label) for label in labels]}, protocol=2)


def parquet(file, pictures, labels, column="fine_label"):
    encoded = []
    for picture in pictures:
        Image.fromarray(picture).save(buffer := io.BytesIO(), "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    pq.write_table(pa.table({"img": encoded, column: pa.array(labels, pa.int64())}), file)


def kept(pictures, labels):
    near = [FINE_NAMES.index("pickup_truck"), FINE_NAMES.index("sea")]
    return pictures[~np.isin(labels, near)]


def test_the_names_are_cifar_100s():
    assert len(FINE_NAMES) == 100 and list(FINE_NAMES) == sorted(FINE_NAMES)


@pytest.mark.parametrize("layout", ["pickle", "archive", "parquet", "label"])
def test_every_layout_gives_the_same_pictures(layout, tmp_path, pictures, labels):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    place, column = folder, "label" if layout == "label" else "fine_label"
    if layout == "pickle":
        (folder / "train").write_bytes(pickled(pictures, labels))
    elif layout == "archive":
        place = tmp_path / "cifar-100-python.tar.gz"
        with tarfile.open(place, "w:gz") as archive:
            info = tarfile.TarInfo("cifar-100-python/train")
            info.size = len(data := pickled(pictures, labels))
            archive.addfile(info, io.BytesIO(data))
    else:
        parquet(folder / "train-00000-of-00001.parquet", pictures, labels, column)
    found = load_outliers(str(place), np.full((1, 32, 32, 3), 255, np.uint8))
    np.testing.assert_array_equal(found.images, kept(pictures, labels))
    assert "CIFAR-100" in found.title
    whole, fine, names = load_cifar100(str(place))
    np.testing.assert_array_equal(whole, pictures)
    assert [names[label] for label in fine] == [FINE_NAMES[label] for label in labels]
    again = load_outliers(str(place), np.full((1, 32, 32, 3), 255, np.uint8))  # from the cache
    np.testing.assert_array_equal(again.images, found.images)
    assert again.describe() == found.describe()


def test_twins_of_known_pictures_are_left_out_and_counted(tmp_path, pictures, labels):
    parquet(tmp_path / "train.parquet", pictures, labels)
    twin = np.clip(kept(pictures, labels)[3].astype(int) + 2, 0, 255).astype(np.uint8)
    found = load_outliers(str(tmp_path), twin[None])
    assert len(found.images) == len(kept(pictures, labels)) - 1
    assert found.left_out["duplicates of CIFAR-10 images"] == 1
    assert "1 duplicates of CIFAR-10 images" in found.describe()


def test_a_folder_of_pictures_serves_as_well(tmp_path, pictures):
    for number, picture in enumerate(pictures[:5]):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = load_outliers(str(tmp_path), np.full((1, 32, 32, 3), 255, np.uint8))
    np.testing.assert_array_equal(found.images, pictures[:5])
    assert found.left_out["unreadable"] == 1
    with pytest.raises(DatasetError, match="holds no CIFAR-100"):
        load_cifar100(str(tmp_path))


def test_cifar100_is_looked_for_where_the_variable_says(tmp_path, monkeypatch, pictures, labels):
    parquet(tmp_path / "train.parquet", pictures, labels)
    monkeypatch.setenv("CIFAR100_DIR", str(tmp_path))
    assert len(load_outliers("cifar100", pictures[:1] ^ 255).images) == len(kept(pictures, labels))


@pytest.mark.parametrize("make", ["nothing", "text", "hostile", "empty"])
def test_what_is_none_says_how_to_get_it(make, tmp_path, monkeypatch, pictures):
    monkeypatch.setattr("cifar_model.data.find.keras_folders", lambda: [])
    place = tmp_path / "there"
    if make == "nothing":
        place = "cifar100"
    elif make == "text":
        place.write_text("no archive")
    elif make == "hostile":
        place.mkdir()
        (place / "train").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    else:
        place.mkdir()
    with pytest.raises(DatasetError, match="CIFAR-100|CIFAR-10 batch"):
        load_outliers(str(place), pictures)
