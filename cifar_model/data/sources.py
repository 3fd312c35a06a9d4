"""What copies of CIFAR-10 look like on disk, and how to get one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import DatasetError

Split = tuple[np.ndarray, np.ndarray]

# The official archive, and what keras.datasets.cifar10 (keras/src/datasets/cifar10.py) knows of it.
ARCHIVE_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
MINI = "mini"  # the name of the distilled images, as in --data mini

# Keras 3 unpacks into, and Keras 2 unpacked into, these names below its datasets folder.
KERAS_ARCHIVES = ("cifar-10-batches-py-target_archive", "cifar-10-batches-py.tar.gz")

BATCH_IMAGES = 10_000  # pictures in each file of the official layouts
PIXEL_VALUES = 3 * IMAGE_SIZE * IMAGE_SIZE
BATCH_NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")

THREE_WAYS = f"""Three ways to get CIFAR-10:
  1. Keras's own download:   python -m cifar_model data --download
     (or: python -c "import keras; keras.datasets.cifar10.load_data()")
  2. the official archive:   {ARCHIVE_URL}
     then --data cifar-10-python.tar.gz, or set CIFAR10_DIR to it
  3. the Parquet files:      https://huggingface.co/datasets/uoft-cs/cifar10 (train-*.parquet, test-*.parquet)
     then --data FOLDER, or set CIFAR10_DIR to it
Folders by class (train/cat/*.png, test/cat/*.png), Kaggle's train/ with trainLabels.csv, .npz and .zip will do, too."""


@dataclass(frozen=True)
class Source:
    """Where pictures lie on disk: `kind` is a key of `title`, "mini" for the distilled ones."""

    kind: str
    path: Path
    files: tuple[Path, ...]
    sha256: str | None = None  # what the one file must hash to, if known

    @property
    def title(self) -> str:
        """What was found, in words."""
        return {
            "parquet": "Hugging Face Parquet files",
            "python": "official Python batches",
            "binary": "official binary batches",
            "archive": "official archive",
            "folders": "folders of images by class",
            "kaggle": "Kaggle's train/ with trainLabels.csv (without test labels, every sixth image is a test image)",
            "npz": "NumPy arrays (.npz)",
            "zip": "a .zip",
            "mini": "distilled images (shipped)",
        }[self.kind]


def sha256_of(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_stats(source: Source) -> list[tuple[int, int, int]]:
    return [(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in (file.stat() for file in source.files)]


def split_of(file: Path) -> str:
    return "test" if file.name.startswith("test") else "train"


def labels_ok(y: np.ndarray) -> bool:
    return len(y) > 0 and 0 <= y.min() and y.max() < len(CLASS_NAMES)


def check_labels(where: Any, y: np.ndarray) -> None:
    if not labels_ok(y):
        found = f"labels from {y.min()} to {y.max()}" if len(y) else "no labels"
        fail(where, found, f"0 to {len(CLASS_NAMES) - 1}")


def fail(where: Any, found: str, expected: str) -> NoReturn:
    raise DatasetError(f"{where}: found {found}; expected {expected}.")


def unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(f"{error.filename or path} can't be read: {error.strerror or error}.")


Part = tuple[str, str, np.ndarray, np.ndarray]  # file name, split, pictures, labels


class _PickledDtype:
    """Stands in for numpy.dtype: only its name is kept."""

    def __init__(self, name: Any, align: Any = False, copy: Any = False):
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass  # byte order and flags; uint8 has none


class _Latin1(bytes):
    """Stands in for _codecs.encode, by which Python 3 writes bytes in protocols 0 to 2."""

    def __new__(cls, text: str, encoding: str = "latin1"):
        return super().__new__(cls, text.encode("latin1"))

    def __setstate__(self, state: Any) -> None:
        pass  # defined, so that a BUILD can't set attributes of the class


GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "numpy.ndarray",  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _PickledDtype,
    ("_codecs", "encode"): _Latin1,
}
