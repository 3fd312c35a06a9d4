"""CIFAR-10 as people keep it: folders, Kaggle, .npz, .zip; and archives that would do harm."""

import io
import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import encode, make_pictures, write_parquet

from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.data import data as data_command
from cifar_model.data import find
from cifar_model.data.cache import load_cifar10
from cifar_model.data.find import find_source, typed_path
from cifar_model.data.layouts import class_of
from cifar_model.data.split import fingerprints
from cifar_model.errors import DatasetError
from cifar_model.trust.doubts import data_doubts

TRAIN, TEST = make_pictures(6, seed=1), make_pictures(3, seed=2)


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(find, "keras_folders", lambda: [])


def check(place, train=TRAIN, test=TEST):
    """Whatever the order: the same pictures with the same labels."""
    for (x, y), (found_x, found_y) in zip((train, test), load_cifar10(place), strict=True):
        assert found_x.dtype == np.uint8 and found_y.dtype == np.int64
        expected, found = (sorted(zip(fingerprints(a).tolist(), b.tolist(), strict=True)) for a, b in
                           ((x, y), (found_x, found_y)))  # fmt: skip
        assert found == expected


def by_class(name=lambda split, label, i: f"{split}/{CLASS_NAMES[label]}/{i}.png"):
    return {
        name(split, label, i): encode(picture)
        for split, (x, y) in (("train", TRAIN), ("test", TEST))
        for i, (picture, label) in enumerate(zip(x, y, strict=True))
    }


def kaggle(test_labels=True):
    files = {f"train/{i + 1}.png": encode(picture) for i, picture in enumerate(TRAIN[0])}
    files |= {f"test/{i + 1}.png": encode(picture) for i, picture in enumerate(TEST[0])}
    tables = {"trainLabels.csv": TRAIN[1]} | ({"testLabels.csv": TEST[1]} if test_labels else {})
    for name, labels in tables.items():
        rows = "".join(f"{i + 1},{CLASS_NAMES[label]}\r\n" for i, label in enumerate(labels))
        files[name] = ("id,label\r\n" + rows).encode()
    return files


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


NAMINGS = {
    "classes": lambda split, label, i: f"{split}/{CLASS_NAMES[label]}/{i}.png",
    "numbers": lambda split, label, i: f"{split}/{label}/{i}.png",
    "both": lambda split, label, i: f"{split}/{label:02d}_{CLASS_NAMES[label]}/{i}.png",
    "deeper": lambda split, label, i: f"my/cifar10/{split.title()}/{CLASS_NAMES[label].title()}/{i}.png",
    "in the name": lambda split, label, i: f"cifar/{split}/{i}_{CLASS_NAMES[label]}.png",
}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("packed", [False, True])
def test_folders_by_class(tmp_path, naming, packed):
    files = by_class(NAMINGS[naming]) | {".DS_Store": b"x", "__MACOSX/train/cat/._1.png": b"x", "README.txt": b"hello"}
    check(write_zip(tmp_path / "c.zip", files) if packed else write(tmp_path / "c", files))


@pytest.mark.parametrize("packed", [False, True])
def test_kaggle(tmp_path, packed):
    files = kaggle()
    check(write_zip(tmp_path / "c.zip", files) if packed else write(tmp_path / "c", files))


def test_kaggle_without_test_labels_tests_on_every_sixth_by_content(tmp_path):
    place = write(tmp_path / "c", kaggle(test_labels=False))
    (x, y), (test_x, test_y) = load_cifar10(place)
    assert len(y) == 50 and len(test_y) == 10 and "every sixth" in find_source(place).title
    everything = dict(zip(fingerprints(TRAIN[0]).tolist(), TRAIN[1].tolist(), strict=True))
    names = fingerprints(np.concatenate([x, test_x])).tolist()
    assert {name: everything[name] for name in names} == dict(
        zip(names, np.concatenate([y, test_y]).tolist(), strict=True)
    )
    assert sorted(fingerprints(test_x).tolist()) == sorted(everything)[::6]


ARRAYS = {
    "keras": dict(x_train=TRAIN[0], y_train=TRAIN[1][:, None], x_test=TEST[0], y_test=TEST[1][:, None]),
    "images and labels": dict(
        train_images=TRAIN[0], train_labels=TRAIN[1].astype(np.uint8), test_images=TEST[0], test_labels=TEST[1]
    ),
    "planes": dict(
        X_train=TRAIN[0].transpose(0, 3, 1, 2), Y_train=TRAIN[1], X_test=TEST[0].transpose(0, 3, 1, 2), Y_test=TEST[1]
    ),
    "rows, one column a class": dict(
        trainX=TRAIN[0].transpose(0, 3, 1, 2).reshape(-1, 3072), trainY=np.eye(10)[TRAIN[1]],
        testX=TEST[0].transpose(0, 3, 1, 2).reshape(-1, 3072), testY=np.eye(10)[TEST[1]],
    ),
    "shares": dict(
        train_data=(TRAIN[0] / 255).astype(np.float32), train_targets=TRAIN[1].astype(float),
        test_data=TEST[0] / 255, test_targets=TEST[1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("naming", ARRAYS)
def test_npz(tmp_path, naming):
    write(tmp_path / "c", {"cifar10.npz": npz(**ARRAYS[naming])})
    check(tmp_path / "c" / "cifar10.npz")
    check(tmp_path / "c")
    check(write_zip(tmp_path / "c.zip", {"data/cifar10.npz": npz(**ARRAYS[naming])}))


def test_two_npz(tmp_path):
    files = {"train.npz": npz(images=TRAIN[0], labels=TRAIN[1]), "test.npz": npz(x=TEST[0], y=TEST[1])}
    check(write(tmp_path / "c", files))
    check(tmp_path / "c" / "train.npz")


def test_zip_of_parquet(tmp_path):
    for split, part in (("train", TRAIN), ("test", TEST)):
        write_parquet(tmp_path / f"{split}-00000-of-00001.parquet", *part)
    files = {f"plain_text/{file.name}": file.read_bytes() for file in tmp_path.glob("*.parquet")}
    check(write_zip(tmp_path / "c.zip", files))


def refused(place, *words):
    with pytest.raises(DatasetError) as caught:
        load_cifar10(place)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("name", ["../train/cat/1.png", "/etc/cat/1.png", "C:/x.png", "train\\cat\\1.png", "a/../../b"])
def test_names_that_lead_out_of_a_zip_are_refused(tmp_path, name):
    path = tmp_path / "c.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, b"x")
    refused(path, "found an entry called")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["c.zip"]  # nothing was extracted


def test_harmful_zips_are_refused(tmp_path, monkeypatch):
    link = zipfile.ZipInfo("train/cat/1.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(tmp_path / "link.zip", "a link or encrypted")
    bomb = write_zip(tmp_path / "bomb.zip", {"train/cat/1.png": bytes(3_000_000)})
    monkeypatch.setattr("cifar_model.data.layouts._MAX_TOTAL", 1_000_000)
    refused(bomb, "3,000,000 bytes once decompressed")
    monkeypatch.setattr("cifar_model.data.layouts._MAX_ENTRIES", 20)
    refused(write_zip(tmp_path / "many.zip", {f"{i}": b"" for i in range(30)}), "30 entries")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 broken")
    refused(tmp_path / "broken.zip", "a broken .zip")
    refused(write_zip(tmp_path / "other.zip", {"a.txt": b"x"}), "no layout of CIFAR-10")


def test_a_damaged_entry_is_named(tmp_path):
    path = write_zip(tmp_path / "c.zip", by_class())
    data = bytearray(path.read_bytes())
    data[60:120] = bytes(60)
    path.write_bytes(data)
    refused(path, "found a")


def test_objects_in_npz_are_refused(tmp_path):
    file = tmp_path / "c.npz"
    np.savez(file, x_train=np.array([{}], object), allow_pickle=True)
    refused(file, "can't be read")
    (tmp_path / "d.npz").write_bytes(npz(weights=np.zeros(3)))
    refused(tmp_path / "d.npz", "arrays called weights", "x_train")
    short = npz(x_train=TRAIN[0], y_train=TRAIN[1][:5], x_test=TEST[0], y_test=TEST[1])
    (tmp_path / "e.npz").write_bytes(short)
    refused(tmp_path / "e.npz", "labels int64 (5,) for 60 pictures")


def test_kaggle_labels_must_have_their_pictures(tmp_path):
    files = kaggle()
    del files["train/7.png"]
    refused(write(tmp_path / "c", files), "found '7'", "train/7.png")
    files = kaggle() | {"trainLabels.csv": b"id,label\n1,cat\n2,unicorn\n"}
    refused(write(tmp_path / "d", files), "2, unicorn")


@pytest.mark.parametrize(
    ("name", "label"),
    [("cat", 3), ("Cat ", 3), ("3", 3), ("03", 3), ("03_cat", 3), ("car", 1), ("plane", 0), ("unicorn", None),
     ("", None), ("12", None)],
)  # fmt: skip
def test_names_of_classes(name, label):
    assert class_of(name) == label


def test_a_place_as_people_type_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "my data"
    folder.mkdir()
    for split, part in (("train", TRAIN), ("test", TEST)):
        write_parquet(folder / f"{split}-00000-of-00001.parquet", *part)
    file = folder / "train-00000-of-00001.parquet"
    for typed in (f"{folder}/", f"'{folder}'", f' "{folder}" ', "~/my data", f"file://{folder}", str(file)):
        check(typed)
    assert typed_path("~/x/") == tmp_path / "x"
    result = CliRunner().invoke(data_command, [f"'{folder}/'", "--json"])
    assert json.loads(result.stdout)["train"]["images"] == 60
    assert CliRunner().invoke(data_command, [str(folder), "--data", str(folder)]).exit_code == 2


def test_a_folder_that_changes_is_looked_through_again(tmp_path):
    place = write(tmp_path / "c", by_class())
    before = len(find_source(place).files)
    write(place, {"train/cat/new.png": encode(np.zeros((32, 32, 3), np.uint8))})
    assert len(find_source(place).files) == before + 1


# ---- doubts


def by_colour(images):
    """A "network" that knows the stripes by the place of their colour: as good as their labels."""
    palette = np.stack([TRAIN[0][TRAIN[1] == c].reshape(-1, 3).mean(0) for c in range(10)])
    top = np.asarray(images, float)[:, :, :16].mean(axis=(1, 2)), np.asarray(images, float).mean(axis=(1, 2))
    distance = ((top[1][:, None] - palette) ** 2).sum(-1)
    return np.eye(10)[distance.argmin(1)]


def test_data_that_is_right_raises_no_doubt():
    x, y = make_pictures(50, seed=5)
    expected = (by_colour(x).argmax(1) == y).mean()
    assert expected > 0.9 and data_doubts(by_colour, x, y, expected) is None
    assert data_doubts(by_colour, x[:90, ..., ::-1], y[:90], expected) is None  # too few to tell


def test_what_is_wrong_is_named():
    x, y = make_pictures(50, seed=5)
    expected = (by_colour(x).argmax(1) == y).mean()
    assert "Red and blue" in data_doubts(by_colour, x[..., ::-1], y, expected)
    assert "another order" in data_doubts(by_colour, x, (y + 3) % 10, expected)
    shuffled = np.random.default_rng(0).permutation(y)
    assert "seem to be shuffled" in data_doubts(by_colour, x, shuffled, expected)
    planes = x.transpose(0, 3, 1, 2).reshape(x.shape)
    assert "three colour planes" in data_doubts(by_colour, planes, y, expected)
