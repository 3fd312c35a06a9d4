"""CIFAR-10 as people keep it: folders of pictures by class, Kaggle's train/ and trainLabels.csv, .npz, .zip of any.

Nothing is ever extracted: a .zip is read member by member in memory, so that no name in it matters to the disk.
"""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.data.batches import batch_part
from cifar_model.data.parquet import decoded_png, read_shard
from cifar_model.data.sources import BATCH_NAMES, PIXEL_VALUES, Part, Source, Split, check_labels, fail
from cifar_model.data.split import fingerprints
from cifar_model.pictures.folders import is_litter, natural_key

_MAX_ENTRIES = 500_000  # Kaggle's has 350,000
_MAX_TOTAL = 1_000_000_000  # bytes in all once decompressed; CIFAR-10 as float32 has 740 million
_MAX_ARRAY = 800_000_000  # bytes of one array
_PICTURES = (".png", ".jpg", ".jpeg")
_ALIASES = {"plane": 0, "aeroplane": 0, "car": 1, "auto": 1}
_HELD_OUT = 6  # of Kaggle's training images every sixth serves as a test, for its test images have no labels


@dataclass(frozen=True)
class Tree:
    """Files below one place: their names in natural order, "/" between folders, and how to read one."""

    place: Path
    names: tuple[str, ...]
    read: Callable[[str], bytes]


def tree_of(place: Path) -> Tree:
    """The files of a folder, or of a .zip that has been found harmless. Raises DatasetError, OSError."""
    if place.is_file() and place.suffix == ".npz":
        return Tree(place.parent, (place.name,), lambda name: (place.parent / name).read_bytes())
    return _zip_tree(place) if place.is_file() else _folder_tree(place)


def _folder_tree(place: Path) -> Tree:
    names = []
    for folder, folders, files in os.walk(place):
        folders[:] = [name for name in folders if not is_litter(name)]
        inside = Path(folder).relative_to(place).as_posix()
        names += [name if inside == "." else f"{inside}/{name}" for name in files if not is_litter(name)]
        if len(names) > _MAX_ENTRIES:
            fail(place, f"over {_MAX_ENTRIES:,} files", "a folder with CIFAR-10 alone")

    def read(name: str) -> bytes:
        file = place / name
        if file.stat().st_size > _MAX_TOTAL:
            fail(file, f"{file.stat().st_size:,} bytes", f"at most {_MAX_TOTAL:,}")
        return file.read_bytes()

    return Tree(place, tuple(sorted(names, key=natural_key)), read)


def _zip_tree(place: Path) -> Tree:
    try:
        with zipfile.ZipFile(place) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        fail(place, f"a broken .zip ({error})", "a whole one")
    if len(members) > _MAX_ENTRIES:
        fail(place, f"{len(members):,} entries", f"at most {_MAX_ENTRIES:,}")
    total = sum(member.file_size for member in members)
    if total > _MAX_TOTAL:
        fail(place, f"{total:,} bytes once decompressed", f"at most {_MAX_TOTAL:,}")
    known: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = member.filename
        parts = name.split("/")
        if name.startswith("/") or "\\" in name or ".." in parts or re.match("[A-Za-z]:", name) or "\0" in name:
            fail(place, f"an entry called {name[:80]!r}", "names of files inside it")
        if stat.S_ISLNK(member.external_attr >> 16) or member.flag_bits & 1:
            fail(place, f"an entry {name[:80]!r} that is a link or encrypted", "plain files")
        if member.is_dir() or any(is_litter(part) for part in parts):
            continue
        if name in known:
            fail(place, f"{name[:80]!r} twice", "each file once")
        known[name] = member
    opened = zipfile.ZipFile(place)

    def read(name: str) -> bytes:
        member = known[name]
        try:
            with opened.open(member) as stream:
                data = stream.read(member.file_size + 1)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            fail(place, f"a broken entry {name[:80]!r} ({error})", "a whole .zip")
        except Exception as error:  # zlib.error, lzma.LZMAError
            fail(place, f"a broken entry {name[:80]!r} ({error})", "a whole .zip")
        if len(data) != member.file_size:
            fail(place, f"{name[:80]!r} of another size than it says", f"{member.file_size:,} bytes")
        return data

    return Tree(place, tuple(sorted(known, key=natural_key)), read)


def layout_of(tree: Tree) -> str | None:
    """Which layout the files make up: "folders", "kaggle", "npz", "python", "binary", "parquet" or None."""
    plain = {PurePosixPath(name).name for name in tree.names}
    if any(name in plain for name in BATCH_NAMES):
        return "python"
    if any(f"{name}.bin" in plain for name in BATCH_NAMES):
        return "binary"
    if any(name.endswith(".parquet") for name in plain):
        return "parquet"
    if any(name.endswith(".npz") for name in plain):
        return "npz"
    if "trainlabels.csv" in {name.lower() for name in plain}:
        return "kaggle"
    if _labelled(tree, "train") and _labelled(tree, "test"):
        return "folders"
    return None


def read_layout(source: Source) -> Iterator[Part]:
    """The parts of a folder or .zip of any layout."""
    tree = tree_of(source.path)
    layout = layout_of(tree)
    if layout == "folders":
        for split in ("train", "test"):
            yield _pictures(tree, split, _labelled(tree, split))
    elif layout == "kaggle":
        yield from _kaggle(tree)
    elif layout == "npz":
        yield from _npz(tree)
    elif layout in ("python", "binary"):
        suffix = ".bin" if layout == "binary" else ""
        for wanted in (f"{name}{suffix}" for name in BATCH_NAMES):
            found = [name for name in tree.names if PurePosixPath(name).name == wanted]
            if len(found) != 1:
                fail(tree.place, f"{wanted} {len(found)} times", "each batch once")
            yield batch_part(tree.place / found[0], tree.read(found[0]))
    elif layout == "parquet":
        for name in tree.names:
            if name.endswith(".parquet"):
                yield read_shard(tree.place / name, io.BytesIO(tree.read(name)))
    else:
        fail(tree.place, "no layout of CIFAR-10", "train/CLASS/*.png and test/CLASS/*.png, trainLabels.csv or .npz")


def class_of(name: str) -> int | None:
    """The class that a folder's or label's name means: "cat", "3", "03_cat", "Car"."""
    name = name.strip().lower()
    if re.fullmatch("0?[0-9]", name):
        return int(name)
    name = re.sub("^[0-9]+[-_. ]+", "", name)
    return CLASS_NAMES.index(name) if name in CLASS_NAMES else _ALIASES.get(name)


def _labelled(tree: Tree, split: str) -> list[tuple[str, int]]:
    """Pictures of a split and their classes, by folder (train/cat/1.png) or by name (train/1_cat.png)."""
    words = {"train": ("train", "training"), "test": ("test", "testing")}[split]
    found = []
    for name in tree.names:
        *folders, file = name.split("/")
        lower = [folder.lower() for folder in folders]
        if not file.lower().endswith(_PICTURES) or not any(word in lower for word in words):
            continue
        inside = folders[max(len(lower) - 1 - lower[::-1].index(word) for word in words if word in lower) + 1 :]
        said = class_of(inside[0]) if inside else class_of(file.rpartition(".")[0].rpartition("_")[2])
        if said is not None and (inside or "_" in file):
            found.append((name, said))
    return found


def _pictures(tree: Tree, split: str, labelled: list[tuple[str, int]]) -> Part:
    x = np.empty((len(labelled), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    for i, (name, _) in enumerate(labelled):
        x[i] = decoded_png(tree.place / name, None, tree.read(name))
    y = np.array([label for _, label in labelled], np.int64)
    check_labels(tree.place / split, y)
    return split, split, x, y


def _kaggle(tree: Tree) -> Iterator[Part]:
    train = _by_csv(tree, "train")
    if any(PurePosixPath(name).name.lower() == "testlabels.csv" for name in tree.names):
        yield _pictures(tree, "train", train)
        yield _pictures(tree, "test", _by_csv(tree, "test"))
        return
    _, _, x, y = _pictures(tree, "train", train)
    if len(y) < _HELD_OUT:
        fail(tree.place, f"{len(y)} labelled pictures", f"at least {_HELD_OUT}")
    tested = np.zeros(len(y), bool)
    tested[np.argsort(fingerprints(x), kind="stable")[::_HELD_OUT]] = True  # by content, whatever the order
    yield "train", "train", x[~tested], y[~tested]
    yield "test", "test", x[tested], y[tested]


def _by_csv(tree: Tree, split: str) -> list[tuple[str, int]]:
    table = next(name for name in tree.names if PurePosixPath(name).name.lower() == f"{split}labels.csv")
    files = {
        PurePosixPath(name).stem: name
        for name in tree.names
        if name.lower().endswith(_PICTURES) and split in [part.lower() for part in PurePosixPath(name).parts[:-1]]
    }
    found = []
    for number, row in enumerate(csv.reader(io.StringIO(tree.read(table).decode("utf-8-sig", "replace")))):
        label = class_of(row[1]) if len(row) == 2 else None
        if label is None and number:
            fail(tree.place / table, f"the line {', '.join(row)[:80]!r}", "a picture's number and its class")
        if label is not None:
            if row[0].strip() not in files:
                fail(tree.place / table, f"{row[0][:40]!r}", f"a picture {split}/{row[0][:40]}.png")
            found.append((files[row[0].strip()], label))
    return found


def _npz(tree: Tree) -> Iterator[Part]:
    arrays: dict[tuple[str, str], np.ndarray] = {}
    names = []
    for file in (name for name in tree.names if name.endswith(".npz")):
        for key, array in _arrays(tree.place / file, tree.read(file)):
            names.append(key)
            split, what = _meaning(f"{PurePosixPath(file).stem} {key}" if not _says_split(key) else key, key)
            if split and what and arrays.setdefault((split, what), array) is not array:
                fail(tree.place / file, f"{what} to {split} with twice", "once")
    missing = [f"{w} to {s} with" for s in ("train", "test") for w in ("pictures", "labels") if (s, w) not in arrays]
    if missing:
        found = ", ".join(names)[:200] or "nothing"
        fail(tree.place, f"arrays called {found}", "x_train, y_train, x_test and y_test, or names alike")
    for split in ("train", "test"):
        x, y = as_split(tree.place, arrays[split, "pictures"], arrays[split, "labels"])
        check_labels(tree.place, y)
        yield split, split, x, y


def _arrays(file: Path, data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if member.file_size > _MAX_ARRAY:
                    fail(file, f"{member.filename[:80]} of {member.file_size:,} bytes", f"at most {_MAX_ARRAY:,}")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            for key in stored.files:
                yield key, stored[key]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, SyntaxError, MemoryError) as error:
        fail(file, f"a file that can't be read ({str(error)[:120]})", "a whole .npz of plain arrays")


def _says_split(key: str) -> bool:
    return bool(re.search("train|test", key.lower()))


def _meaning(words: str, key: str) -> tuple[str | None, str | None]:
    """Split and content that an array's name means: x_train, train_images, trainX, test_y, labels_test, data."""
    words = words.lower()
    split = "test" if "test" in words else "train" if "train" in words else None
    rest = re.sub("training|testing|train|test", " ", key.lower())
    parts = set(re.findall("[a-z]+", rest.replace("_", " ")))
    if parts & {"y", "label", "labels", "target", "targets", "lbl"}:
        return split, "labels"
    if parts & {"x", "image", "images", "img", "imgs", "data", "picture", "pictures", "pixels"}:
        return split, "pictures"
    return None, None


def as_split(where: Path, x: np.ndarray, y: np.ndarray) -> Split:
    """Arrays as people keep them → uint8 (n, 32, 32, 3) and int64 (n,).

    Pictures may be (n, 32, 32, 3), (n, 3, 32, 32) or (n, 3072), whole numbers 0 to 255 or floats 0 to 1; labels (n,),
    (n, 1) or one column a class.
    """
    expected = f"uint8 (n, {IMAGE_SIZE}, {IMAGE_SIZE}, 3)"
    n = len(x) if x.ndim else 0
    if x.shape[1:] in ((3, IMAGE_SIZE, IMAGE_SIZE), (PIXEL_VALUES,)):
        x = x.reshape(n, 3, IMAGE_SIZE, IMAGE_SIZE).transpose(0, 2, 3, 1)
    if not n or x.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or x.dtype.kind not in "uif":
        fail(where, f"pictures {x.dtype} {x.shape}", expected)
    if x.dtype != np.uint8:
        if not np.isfinite(x[:: max(1, n // 100)]).all() or x.min() < 0 or x.max() > 255:
            fail(where, f"pixels from {x.min():.4g} to {x.max():.4g}", "0 to 255, or 0 to 1")
        x = np.rint(x * 255.0 if x.dtype.kind == "f" and x.max() <= 1 else x).astype(np.uint8)
    if y.ndim == 2 and y.shape[1] == len(CLASS_NAMES) and (np.sort(y, axis=1)[:, -1] == y.sum(axis=1)).all():
        y = y.argmax(axis=1)
    y = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
    whole = y.ndim == 1 and y.dtype.kind in "uif" and np.isfinite(y).all() and (y == np.rint(y)).all()
    if len(y) != n or not whole:
        fail(where, f"labels {y.dtype} {y.shape} for {n:,} pictures", f"whole numbers ({n:,},)")
    return np.ascontiguousarray(x), y.clip(-1, 256).astype(np.int64)
