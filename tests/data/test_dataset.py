"""CIFAR-10 from every layout, from hostile files, and from the cache."""

import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import REPOSITORY, encode, kept, make_pictures, write_parquet
from PIL import Image

from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.data import data as data_command
from cifar_model.data import batches as data_batches
from cifar_model.data import cache, download, find, readers, sources
from cifar_model.data.batches import _from_pickle
from cifar_model.data.cache import cache_entry, cache_root, load_cifar10
from cifar_model.data.find import find_source, is_available
from cifar_model.data.sources import BATCH_NAMES, _Latin1, _PickledDtype
from cifar_model.data.split import fingerprints
from cifar_model.errors import DatasetError, ModelError
from cifar_model.models.answers import read_answers, write_answers

PER_BATCH = 20  # pictures in a file of the official layouts, in these tests


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """Each test has its own cache, and no Keras cache of the user or of all users."""
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(find, "keras_folders", lambda: [tmp_path / "keras" / "datasets"])
    monkeypatch.setattr(sources, "BATCH_IMAGES", PER_BATCH)


@pytest.fixture(scope="session")
def pictures():
    """Six batches of PER_BATCH: name → (uint8 (20, 32, 32, 3), labels)."""
    x, y = make_pictures(12, seed=7)
    return {
        name: (x[i * PER_BATCH : (i + 1) * PER_BATCH], y[i * PER_BATCH : (i + 1) * PER_BATCH])
        for i, name in enumerate(BATCH_NAMES)
    }


def rows(x):
    return x.transpose(0, 3, 1, 2).reshape(len(x), 3072)


def python_batch(name, x, y, *, protocol=2, **changes):
    number = name[-1]
    title = "testing batch 1 of 1" if name == "test_batch" else f"training batch {number} of 5"
    batch = {"batch_label": title, "labels": y.tolist(), "data": np.ascontiguousarray(rows(x))}
    batch["filenames"] = [f"{i}.png" for i in range(len(x))]
    return pickle.dumps(batch | changes, protocol)


def original_batch(name, x, y):
    """The bytes as Python 2 and NumPy 1 wrote the published files: protocol 2, byte strings, numpy.core."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    number = name[-1].encode()
    title = b"testing batch 1 of 1" if name == "test_batch" else b"training batch " + number + b" of 5"
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in y.tolist()) + b"e"
    pixels = rows(x).tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09"
        b"(K\x01M" + len(x).to_bytes(2, "little") + b"M\x00\x0c\x86"
        b"cnumpy\ndtype\nq\nU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + len(pixels).to_bytes(4, "little") + pixels + b"tb"
    )  # fmt: skip
    parts = [text(b"batch_label"), text(title), text(b"labels"), labels, text(b"data"), array]
    return b"\x80\x02}q\x01(" + b"".join(parts) + b"u."


def binary_batch(_, x, y):
    return np.concatenate([y[:, None].astype(np.uint8), rows(x)], axis=1).tobytes()


def write_batches(folder, pictures, encoder=original_batch, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (x, y) in pictures.items():
        (folder / f"{name}{suffix}").write_bytes(encoder(name, x, y))
    (folder / "batches.meta").write_bytes(b"not read")
    return folder


def write_archive(path, folder):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    return path


def check(found, pictures):
    (x_train, y_train), (x_test, y_test) = found
    train = [pictures[name] for name in BATCH_NAMES[:5]]
    np.testing.assert_array_equal(x_train, np.concatenate([x for x, _ in train]))
    np.testing.assert_array_equal(y_train, np.concatenate([y for _, y in train]))
    np.testing.assert_array_equal(x_test, pictures["test_batch"][0])
    np.testing.assert_array_equal(y_test, pictures["test_batch"][1])
    assert x_train.dtype == x_test.dtype == np.uint8 and y_train.dtype == y_test.dtype == np.int64
    for array in (x_train, y_train, x_test, y_test):
        assert isinstance(array, np.memmap) and not array.flags.writeable


def message(path, **options):
    with pytest.raises(DatasetError) as caught:
        load_cifar10(path, **options)
    return str(caught.value)


# ------------------------------------------------------------------------------------------- layouts


def _in_official_archive(tmp_path, pictures):
    return write_archive(tmp_path / "cifar-10-python.tar.gz", write_batches(tmp_path / "cifar-10-batches-py", pictures))


def _in_keras_cache(tmp_path, pictures):
    write_batches(tmp_path / "keras" / "datasets" / "cifar-10-batches-py-target" / "cifar-10-batches-py", pictures)


def _in_parquet(tmp_path, pictures, order=slice(None)):
    folder = tmp_path / "parquet"
    folder.mkdir()
    train = [np.concatenate(part) for part in zip(*(pictures[name] for name in BATCH_NAMES[:5]), strict=True)]
    for split, (x, y) in (("train", train), ("test", pictures["test_batch"])):
        write_parquet(folder / f"{split}-00000-of-00001.parquet", x[order], y[order])
    return folder


def _in_another_order(tmp_path, pictures):
    return _in_parquet(tmp_path, pictures, slice(None, None, -1))


@pytest.mark.parametrize("layout", [_in_official_archive, _in_keras_cache, _in_parquet, _in_another_order])
def test_stored_answers_find_their_pictures_in_every_layout(tmp_path, pictures, layout):
    images, labels = pictures["test_batch"]
    probabilities = np.eye(10, dtype=np.float32)[labels]
    write_answers(tmp_path, probabilities=probabilities, labels=labels, fingerprints=fingerprints(images))
    _, (here, here_labels) = load_cifar10(layout(tmp_path, pictures))
    places = read_answers(tmp_path).places(fingerprints(here))
    np.testing.assert_array_equal(here[places], images)
    np.testing.assert_array_equal(here_labels[places], labels)


def test_answers_to_pictures_that_are_elsewhere_find_none(tmp_path, pictures):
    images, labels = pictures["test_batch"]
    write_answers(
        tmp_path,
        probabilities=np.eye(10)[labels],
        labels=labels,
        scope=np.zeros(len(labels)),
        fingerprints=fingerprints(images),
    )
    changed = images.copy()
    changed[3, 0, 0, 0] ^= 1  # the least that a picture can differ by
    places = read_answers(tmp_path).places(fingerprints(changed))
    assert places[3] == -1 and (np.delete(places, 3) == np.delete(np.arange(PER_BATCH), 3)).all()
    assert (read_answers(tmp_path).places(np.empty(0, np.uint64)) == -1).all()
    with np.load(tmp_path / "answers.npz") as stored:
        arrays = dict(stored)
    np.savez(tmp_path / "answers.npz", **arrays | {"fingerprints": arrays["fingerprints"][:4]})
    with pytest.raises(ModelError, match="expected uint64"):
        read_answers(tmp_path)


@pytest.mark.parametrize("within", ["", "cifar-10-batches-py"])
def test_original_python_batches(tmp_path, pictures, within):
    write_batches(tmp_path / "in" / within, pictures)
    check(load_cifar10(tmp_path / "in"), pictures)


@pytest.mark.parametrize("protocol", range(6))
def test_python_batches_pickled_by_this_numpy(tmp_path, pictures, protocol):
    write_batches(tmp_path / "in", pictures, lambda *batch: python_batch(*batch, protocol=protocol))
    check(load_cifar10(tmp_path / "in"), pictures)


def test_binary_batches(tmp_path, pictures):
    write_batches(tmp_path / "in" / "cifar-10-batches-bin", pictures, binary_batch, ".bin")
    check(load_cifar10(tmp_path / "in"), pictures)


@pytest.mark.parametrize("kind", ["python", "binary"])
@pytest.mark.parametrize("name_it", [True, False])
def test_archives(tmp_path, pictures, kind, name_it):
    encoder, suffix = (original_batch, "") if kind == "python" else (binary_batch, ".bin")
    inner = write_batches(tmp_path / f"cifar-10-batches-{kind[:3]}", pictures, encoder, suffix)
    (tmp_path / "in").mkdir()
    path = write_archive(tmp_path / "in" / f"cifar-10-{kind}.tar.gz", inner)
    check(load_cifar10(path if name_it else path.parent), pictures)


@pytest.mark.parametrize("within", ["", "data", "plain_text"])
def test_parquet_shards(tmp_path, pictures, within):
    folder = tmp_path / "in" / within
    folder.mkdir(parents=True)
    for i, name in enumerate(BATCH_NAMES[:5]):
        write_parquet(folder / f"train-{i:05}-of-00005.parquet", *pictures[name])
    write_parquet(folder / "test-00000-of-00001.parquet", *pictures["test_batch"])
    check(load_cifar10(tmp_path / "in"), pictures)


def test_parquet_jpeg_is_what_pillow_decodes(tmp_path, pictures):
    (x, y), test = pictures["data_batch_1"], pictures["test_batch"]
    write_parquet(tmp_path / "train-1.parquet", x, y, "JPEG")
    write_parquet(tmp_path / "test-1.parquet", *test, "JPEG")
    expected = [np.asarray(Image.open(io.BytesIO(encode(p, "JPEG")))) for p in x]
    np.testing.assert_array_equal(load_cifar10(tmp_path)[0][0], expected)


def test_real_cifar10(cifar10_dir, monkeypatch, lab_environment):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(lab_environment / "CIFAR_LAB_CACHE"))  # shared with other tests
    (x_train, y_train), (x_test, y_test) = load_cifar10(cifar10_dir)
    assert x_train.shape == (50_000, 32, 32, 3) and x_test.shape == (10_000, 32, 32, 3)
    assert np.bincount(y_train).tolist() == [5000] * 10 and np.bincount(y_test).tolist() == [1000] * 10
    # Krizhevsky's means of the red, green and blue channels, widely used to normalise CIFAR-10.
    np.testing.assert_allclose(x_train.mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=0.005)


# ------------------------------------------------------------------------------------------- sources


def test_no_source_names_three_ways(tmp_path):
    assert not is_available()
    text = message(None)
    assert "data --download" in text and "cifar-10-python.tar.gz" in text and "Parquet" in text
    assert "does not exist" in message(tmp_path / "nowhere")
    assert "does not exist" in message("~nobody-of-this-name/data")
    assert "can't be read" in message(os.devnull) and not is_available(os.devnull)
    (tmp_path / "notes.txt").write_text("hello")
    assert "holds no CIFAR-10 (found: notes.txt" in message(tmp_path)
    assert "broken archive" in message(tmp_path / "notes.txt")


def test_argument_then_variable_then_keras(tmp_path, pictures, monkeypatch, tiny_cifar10):
    keras = tmp_path / "keras" / "datasets" / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    write_batches(keras, pictures)
    assert find_source().path == keras and is_available()
    check(load_cifar10(), pictures)
    monkeypatch.setenv("CIFAR10_DIR", str(tiny_cifar10))
    assert find_source().path == tiny_cifar10
    assert find_source(keras).kind == "python"


def test_relative_path(tmp_path, pictures, monkeypatch):
    write_batches(tmp_path / "in", pictures)
    monkeypatch.chdir(tmp_path)
    check(load_cifar10("in"), pictures)


@pytest.fixture
def server(tmp_path):
    """A web server of tmp_path/web on this machine."""
    (tmp_path / "web").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "web"))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield SimpleNamespace(folder=tmp_path / "web", url=f"http://127.0.0.1:{httpd.server_port}")
        httpd.shutdown()
        thread.join()


def test_download_verifies_and_keeps(tmp_path, pictures, server, monkeypatch):
    inner = write_batches(tmp_path / "cifar-10-batches-py", pictures)
    content = write_archive(server.folder / "a.tar.gz", inner).read_bytes()
    monkeypatch.setattr(sources, "ARCHIVE_URL", f"{server.url}/a.tar.gz")
    monkeypatch.setattr(download, "ARCHIVE_BYTES", len(content))
    keras = tmp_path / "keras" / "datasets"

    assert "sent something else" in message(None, allow_download=True)  # not Keras's hash
    assert kept(keras) == []

    monkeypatch.setattr(sources, "ARCHIVE_SHA256", hashlib.sha256(content).hexdigest())
    seen = []
    check(load_cifar10(allow_download=True, progress=lambda *step: seen.append(step)), pictures)
    assert seen[-1] == (len(content), len(content))
    archive = keras / "cifar-10-batches-py-target_archive"  # where keras.utils.get_file looks
    assert kept(keras) == [archive] and archive.read_bytes() == content

    archive.write_bytes(content[:-1])
    assert "expected" in (text := message(None)) and "SHA-256" in text and str(archive) in text


def test_download_without_network(server, monkeypatch):
    monkeypatch.setattr(sources, "ARCHIVE_URL", f"{server.url}/absent.tar.gz")
    text = message(None, allow_download=True)
    assert "Can't fetch" in text and "404" in text and "Three ways" in text
    monkeypatch.setattr(sources, "ARCHIVE_URL", "http://127.0.0.1:1/a.tar.gz")
    assert "Can't fetch" in message(None, allow_download=True)


# ------------------------------------------------------------------------------- truncated, wrong, mixed up


@pytest.fixture
def batches(tmp_path, pictures):
    return write_batches(tmp_path / "in", pictures)


def test_python_batch_missing_truncated_or_wrong(batches, pictures):
    bad, good = batches / "data_batch_3", (batches / "data_batch_3").read_bytes()
    x, y = pictures["data_batch_3"]
    cases = {
        "can't be admitted": [good[:-1], good[: len(good) // 2], b"", b"\x80", b"hello", gzip.compress(good)],
        "labels from 0 to 10": [python_batch("data_batch_3", x, y, labels=[0] * 19 + [10])],
        "labels from -1 to 0": [python_batch("data_batch_3", x, y, labels=[0] * 19 + [-(10**30)])],
        "19 labels": [python_batch("data_batch_3", x, y, labels=[0] * 19)],
        "(20, 3071)": [python_batch("data_batch_3", x, y, data=rows(x)[:, 1:].copy())],
        "another dtype than uint8": [python_batch("data_batch_3", x, y, data=rows(x).astype(float))],
        "labels of another kind": [python_batch("data_batch_3", x, y, labels=["a"] * 20)],
        "data of type int": [python_batch("data_batch_3", x, y, data=1)],
        "a pickled list": [pickle.dumps([1])],
        "this is CIFAR-100": [pickle.dumps({"fine_labels": [], "data": 1})],
        "'training batch 1 of 5' inside": [(batches / "data_batch_1").read_bytes()],
        "'testing batch 1 of 1' inside": [(batches / "test_batch").read_bytes()],
    }
    for expected, contents in cases.items():
        for content in contents:
            bad.write_bytes(content)
            text = message(batches)
            assert expected in text and str(bad) in text and "expected" in text
    bad.unlink()
    assert "data_batch_3 missing" in message(batches)
    bad.write_bytes(good)
    check(load_cifar10(batches), pictures)


def test_binary_batch_truncated_or_wrong(tmp_path, pictures):
    folder = write_batches(tmp_path / "in", pictures, binary_batch, ".bin")
    bad, good = folder / "test_batch.bin", (folder / "test_batch.bin").read_bytes()
    bad.write_bytes(good[:-1])
    assert "test_batch.bin: found 61,459 bytes; expected 61,460 (20 pictures)" in message(folder)
    bad.write_bytes(b"\x0a" + good[1:])
    assert "expected 0 to 9" in message(folder)
    bad.write_bytes((folder / "data_batch_2.bin").read_bytes())
    assert "test_batch.bin and data_batch_2.bin hold the same images" in message(folder)


def test_archive_truncated_wrong_or_hostile(tmp_path, batches, pictures, monkeypatch):
    good = write_archive(tmp_path / "good.tar.gz", batches).read_bytes()
    bad = tmp_path / "bad.tar.gz"
    half, zipped = good[: len(good) // 2], b"PK\x03\x04" * 200
    for content in (b"", b"\x1f\x8b", half, good[:-4], good[:-2] + b"xx", zipped):
        bad.write_bytes(content)
        assert "bad.tar.gz: found a" in (text := message(bad)) and "expected" in text

    def archive(*members):
        with tarfile.open(bad, "w:gz") as file:
            for name, content, kind in members:
                info = tarfile.TarInfo(name)
                info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
                file.addfile(info, io.BytesIO(content))
        return message(bad)

    regular, link = tarfile.REGTYPE, tarfile.SYMTYPE
    batch = (batches / "data_batch_1").read_bytes()
    assert "cifar-100-python/train" in archive(("cifar-100-python/train", b"x", regular))
    assert "data_batch_1; expected" in archive(("../../data_batch_1", batch, regular))
    assert "a/data_batch_1" in archive(("a/data_batch_1", b"", link))
    assert "data_batch_1 twice" in archive(*[("a/data_batch_1", batch, regular)] * 2)
    monkeypatch.setattr(data_batches, "_MAX_ARCHIVE", 1 << 20)  # a bomb: small packed, large unpacked
    assert "once decompressed" in archive(("zeros", bytes(2 << 20), regular))
    assert not (tmp_path / "data_batch_1").exists()


def test_parquet_truncated_wrong_or_mixed_up(tmp_path, pictures, tiny_cifar10):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = shutil.copytree(tiny_cifar10, tmp_path / "in")
    train, test = folder / "train-00000-of-00001.parquet", folder / "test-00000-of-00001.parquet"
    good = test.read_bytes()
    x, y = pictures["test_batch"]

    for content in (b"", b"PAR1", good[:-1], good[: len(good) // 2], b"PAR1" + bytes(1000) + b"PAR1"):
        test.write_bytes(content)
        assert "not a whole Parquet file" in (text := message(folder)) and str(test) in text

    broken = bytearray(good)
    broken[100:200] = bytes(100)
    test.write_bytes(broken)
    assert str(test) in message(folder)

    def table(**columns):
        pq.write_table(pa.table(columns), test)
        return message(folder)

    def img(*encoded):
        return pa.array([{"bytes": b} for b in encoded], pa.struct([("bytes", pa.binary())]))

    fine = encode(x[0])
    assert "columns image" in table(image=img(fine), label=[0])
    assert "columns img" in table(img=[fine], label=[0])
    assert "fine_label" in table(img=img(fine), fine_label=[0])
    assert "label (string)" in table(img=img(fine), label=["cat"])
    assert "without a label" in table(img=img(fine), label=pa.array([None], pa.int64()))
    assert "labels from 10 to 10" in table(img=img(fine), label=[10])
    assert "0 rows" in table(img=img(), label=pa.array([], pa.int64()))
    assert "row 1: found 0 bytes" in table(img=img(fine, None), label=[0, 0])
    assert "row 0: found 64×64 RGB" in table(img=img(encode(np.zeros((64, 64, 3), np.uint8))), label=[0])
    assert "row 0: found 32×32 L" in table(img=img(encode(np.zeros((32, 32), np.uint8))), label=[0])
    assert "unreadable picture" in table(img=img(fine[:200]), label=[0])
    assert "unreadable picture" in table(img=img(encode(x[0], "BMP")), label=[0])  # neither PNG nor JPEG
    assert "at most" in table(img=img(bytes(1 << 20)), label=[0])

    test.unlink()
    assert "no test-*.parquet" in message(folder)
    shutil.copy(train, test)
    assert "hold the same images" in message(folder)
    train.unlink()
    assert "no train-*.parquet" in message(folder)
    test.write_bytes(good)
    write_parquet(train, *pictures["data_batch_1"])
    assert "20 train and 100 test images" in message(folder)  # swapped
    write_parquet(train, *make_pictures(40, seed=1))
    write_parquet(test, *(part[:50] for part in make_pictures(40, seed=1)))
    assert "50 of the 50 test images among the training" in message(folder)
    test.rename(folder / "test-00000-of-00002.parquet")
    assert "expected all of one set of test shards" in message(folder)
    assert "expected all of one set of test shards" in message(train)  # one of several stands for its folder


# ------------------------------------------------------------------------------------------- pickles


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hash_bomb():
    """Nested shared tuples as a key: hashing them would take 2**64 steps."""
    levels = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(64))
    return b"\x80\x02}(K\x00K\x01\x86q\x00" + levels + b"K\x01u."


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_calls_nothing(batches, tmp_path, protocol):
    mark = tmp_path / "called"
    for call in (
        Call(os.mkdir, str(mark)),
        Call(eval, f"__import__('os').mkdir({str(mark)!r})"),
        Call(getattr, "", "join"),
        Call(np.load, "x.npy"),
        Call(np.dtype, "O"),
    ):
        (batches / "data_batch_1").write_bytes(pickle.dumps({"data": call, "labels": []}, protocol))
        assert "data_batch_1: found" in message(batches)
        assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        hash_bomb(),
        b"\x80\x02r\xff\xff\xff\x7f.",  # LONG_BINPUT: a memo of 32 GB
        b"\x80\x04]r\xff\xff\xff\x7f.",
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",  # BYTEARRAY8 of a terabyte
        b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b".",  # FRAME of a terabyte
        b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b".",  # BINBYTES8 of a terabyte
        b"]" * (1 << 20) + b".",  # a million lists
        b"cnumpy\ndtype\n(N}U\x08__init__Nstb.",  # would set attributes of a class
        b"c_codecs\nencode\nN}U\x07__new__Ns\x86b.",
        b"cnumpy.core.multiarray\n_reconstruct\nK\x01\x85R.",
        b"\x80\x02cnumpy\nndarray\n.",
        b"\x82\x01.",  # EXT1
        b"Pname\n.",  # PERSID
        b"(i__main__\nCall\n.",  # INST
        b".", b"0.", b"(", b"\x80\xff.", b"R.", b"h\x05.",
    ],
)  # fmt: skip
def test_pickle_bombs_and_rubbish(batches, content):
    (batches / "data_batch_1").write_bytes(content)
    assert "data_batch_1: found a pickle" in message(batches)
    assert _Latin1("é") == b"\xe9" and _PickledDtype("u1").name == "u1"


@pytest.mark.filterwarnings("ignore:invalid escape")
def test_any_flipped_byte_is_an_error_or_other_data(batches):
    good = (batches / "data_batch_1").read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        content = bytearray(good)
        content[rng.integers(0, 400)] = rng.integers(256)
        try:
            images, labels = _from_pickle(batches / "data_batch_1", bytes(content))
        except DatasetError:
            refused += 1
        else:
            assert images.shape == (PER_BATCH, 3072) and images.dtype == np.uint8
            assert labels.shape == (PER_BATCH,) and labels.dtype == np.int64  # whose range is checked later
    assert refused > 100  # most of these bytes are the pickle's grammar


# --------------------------------------------------------------------------------------------- cache


def no_reading(monkeypatch):
    def fail(_):
        raise AssertionError("read although cached")

    monkeypatch.setattr(readers, "read_source", fail)


def test_cached_by_content(batches, pictures, tmp_path, monkeypatch):
    load_cifar10(batches)
    with monkeypatch.context() as patch:
        no_reading(patch)
        check(load_cifar10(batches), pictures)
        moved = shutil.copytree(batches, tmp_path / "elsewhere")
        check(load_cifar10(moved), pictures)
    x, y = pictures["test_batch"]
    (batches / "test_batch").write_bytes(original_batch("test_batch", x, (y + 1) % 10))
    np.testing.assert_array_equal(load_cifar10(batches)[1][1], (y + 1) % 10)


def test_old_files_are_not_read_again(batches, pictures, monkeypatch):
    for file in batches.iterdir():
        os.utime(file, (1e9, 1e9))
    load_cifar10(batches)
    no_reading(monkeypatch)
    monkeypatch.setattr(cache, "_content_key", readers.read_source)
    check(load_cifar10(batches), pictures)


def test_broken_cache_is_rebuilt(batches, pictures):
    load_cifar10(batches)
    entry = cache_entry(find_source(batches))
    for name in ("x_train", "y_train", "x_test", "y_test"):
        file = entry / f"{name}.npy"
        content = file.read_bytes()
        for broken in (b"", content[:50], content[:-1], pickle.dumps(1), b"\xff" * len(content)):
            file.unlink()
            file.write_bytes(broken)
            check(load_cifar10(batches), pictures)
        file.unlink()
        check(load_cifar10(batches), pictures)
    shutil.rmtree(entry)
    (entry.parent / f"{entry.name}.tmp").mkdir()  # of a process that was killed
    (entry.parent / f"{entry.name}.tmp" / "x_train.npy").write_bytes(b"half")
    check(load_cifar10(batches), pictures)
    assert not list(entry.parent.glob("*.tmp"))


def test_cache_that_cannot_be_written(batches, pictures, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "file"))
    (x_train, _), (x_test, y_test) = load_cifar10(batches)
    np.testing.assert_array_equal(x_test, pictures["test_batch"][0])
    assert len(x_train) == 5 * PER_BATCH and not x_train.flags.writeable and not y_test.flags.writeable
    assert "Can't cache CIFAR-10" in caplog.text and "CIFAR_LAB_CACHE" in caplog.text


def test_full_disk_keeps_arrays_in_memory(batches, pictures, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    np.testing.assert_array_equal(load_cifar10(batches)[1][0], pictures["test_batch"][0])
    assert "No space left" in caplog.text
    assert not list(cache_root().glob("*.tmp"))


def test_two_processes_at_once(tiny_cifar10):
    code = """
import sys; from cifar_model.data.cache import load_cifar10
print(sum(int(array.sum()) for split in load_cifar10(sys.argv[1]) for array in split))"""
    start = [sys.executable, "-c", code, str(tiny_cifar10)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(start, cwd=REPOSITORY, **pipes) for _ in range(3)]
    answers = [process.communicate(timeout=120) for process in processes]
    expected = sum(int(array.sum()) for split in load_cifar10(tiny_cifar10) for array in split)
    assert answers == [(f"{expected}\n", "")] * 3
    assert not list(cache_root().glob("*.tmp"))


# ------------------------------------------------------------------------------------------- command


def run(*arguments):
    return CliRunner().invoke(data_command, [str(argument) for argument in arguments])


def test_command_counts_and_draws(tiny_cifar10, tmp_path):
    sheet = tmp_path / "sheet.png"
    first = run("--data", tiny_cifar10, "--sheet", sheet, "--per-class", 3)
    assert first.exit_code == 0 and first.exception is None
    assert "Hugging Face Parquet files" in first.stdout and str(tiny_cifar10) in first.stdout
    assert "once" in first.stderr
    rows = [line.split() for line in first.stdout.splitlines()]
    assert ["CLASS", "TRAIN", "TEST"] in rows and all([name, "40", "10"] in rows for name in CLASS_NAMES)
    with Image.open(sheet) as image:
        assert image.format == "PNG" and image.width > 3 * 32 and image.height > 10 * 32

    second = run("--data", tiny_cifar10, "--json")
    answer = json.loads(second.stdout)
    assert second.stderr == ""
    assert answer["train"] == {"images": 400, "per_class": dict.fromkeys(CLASS_NAMES, 40)}
    assert answer["test"]["images"] == 100 and answer["source"]["kind"] == "parquet"
    assert answer["cache"].startswith(str(tmp_path))


def test_command_errors(tmp_path, tiny_cifar10):
    assert isinstance(run("--data", tmp_path / "nowhere").exception, DatasetError)
    assert run("--data", tiny_cifar10, "--download").exit_code == 2
    assert run("--per-class", 0).exit_code == 2
    assert "Parquet" in run("--help").stdout


def test_command_downloads(tmp_path, pictures, server, monkeypatch):
    content = write_archive(server.folder / "a.tgz", write_batches(tmp_path / "py", pictures)).read_bytes()
    monkeypatch.setattr(sources, "ARCHIVE_URL", f"{server.url}/a.tgz")
    monkeypatch.setattr(download, "ARCHIVE_BYTES", len(content))
    monkeypatch.setattr(sources, "ARCHIVE_SHA256", hashlib.sha256(content).hexdigest())
    first = run("--download")
    assert first.exit_code == 0 and "official archive" in first.stdout
    assert "Verified and saved" in first.stderr
    assert "already" in run("--download").stderr
