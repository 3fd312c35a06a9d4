"""CIFAR-10 as arrays: decoded once, kept under a key that follows the content."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import time
from pathlib import Path

import filelock
import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.data import download, readers
from cifar_model.data.download import Progress
from cifar_model.data.find import find_source, keras_source
from cifar_model.data.sources import Source, Split, file_stats, labels_ok, sha256_of, split_of, unreadable
from cifar_model.errors import DatasetError
from cifar_model.storage import caches_dir

log = logging.getLogger(__name__)

_CACHE_FORMAT = 1  # part of the cache's key: raise it when the arrays' meaning changes
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_LOCK_SECONDS = 300


def load_cifar10(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    allow_download: bool = False,
    progress: Progress | None = None,
) -> tuple[Split, Split]:
    """CIFAR-10 as `(x_train, y_train), (x_test, y_test)`.

    Pictures are uint8 (n, 32, 32, 3), height × width × RGB, 0 to 255; labels are int64 (n,), 0 to 9 in the
    order of CLASS_NAMES. The arrays are read-only, and memory-mapped from the cache if that can be written.
    The source is found by `find_source`; with `allow_download`, and neither `data_dir` nor CIFAR10_DIR, the
    official archive is fetched first if Keras's cache has none (`progress` as in `download`).

    Raises DatasetError: no data, or a file that is truncated, wrong or mixed up.
    """
    if allow_download and not data_dir and not os.environ.get("CIFAR10_DIR") and not keras_source():
        download.download(progress)
    source = find_source(data_dir)
    entry = cache_entry(source)
    return _open_cache(entry) or _fill_cache(source, entry)


def cache_root() -> Path:
    """Where the decoded arrays lie: CIFAR_LAB_CACHE, else the user's cache directory (`storage.caches_dir`)."""
    return caches_dir() / "cifar10"


def cache_entry(source: Source) -> Path:
    """The directory, existing or not, that caches the arrays of this source; its name follows the content.

    Raises DatasetError if a file can't be read, or is not the official archive where it should be.
    """
    try:
        stats = file_stats(source)
        # Reading 180 MB takes long; files with paths, sizes and times of those read before have their key.
        identity = repr((_CACHE_FORMAT, source, stats))
        known = cache_root() / "known" / hashlib.sha256(identity.encode()).hexdigest()
        key = _recall(known)
        if not key:
            key = _content_key(source)
            # A file written within the clock's grain of now could change again without changing its times.
            if all(time.time() - times[1] / 1e9 > 2 for times in stats):
                _remember(known, key)
    except OSError as error:
        raise unreadable(source.path, error) from error
    return cache_root() / key


def _content_key(source: Source) -> str:
    """SHA-256 over the layout and the content of all files."""
    digest = hashlib.sha256(f"{_CACHE_FORMAT} {source.kind}".encode())
    for file in source.files:
        found = sha256_of(file)
        if source.sha256 and found != source.sha256:
            raise DatasetError(
                f"{file}: SHA-256 {found}, expected {source.sha256}: truncated or not the official archive. "
                "Delete it, then: python -m cifar_model data --download"
            )
        # Where names are labels, they are part of the content.
        name = file.relative_to(source.path).as_posix() if source.kind in ("folders", "kaggle") else split_of(file)
        digest.update(f" {name} {found}".encode())
    return digest.hexdigest()


def _recall(known: Path) -> str | None:
    try:
        key = known.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return key if re.fullmatch("[0-9a-f]{64}", key) else None


def _remember(known: Path, key: str) -> None:
    try:
        known.parent.mkdir(parents=True, exist_ok=True)
        part = known.with_name(f"{known.name}.{os.getpid()}.tmp")
        part.write_text(key, "ascii")
        os.replace(part, known)
    except OSError:
        pass  # only speed is lost


def _open_cache(entry: Path) -> tuple[Split, Split] | None:
    """The arrays of a cache entry, or None if it is absent or broken."""
    try:
        arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        good = x.dtype == np.uint8 and x.shape == (len(y), IMAGE_SIZE, IMAGE_SIZE, 3) and x.flags.c_contiguous
        if not good or y.dtype != np.int64 or y.ndim != 1 or not labels_ok(y):
            return None
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _fill_cache(source: Source, entry: Path) -> tuple[Split, Split]:
    """Read the source once and write its cache entry; only keep the arrays in memory if that can't be."""
    arrays = None
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{entry}.lock", timeout=_LOCK_SECONDS):
            if cached := _open_cache(entry):  # another process was first
                return cached
            arrays = readers.read_source(source)
            _write_cache(entry, arrays)
            if cached := _open_cache(entry):
                return cached
    except (OSError, NotImplementedError) as error:  # _read raises DatasetError alone; Timeout is an OSError
        advice = "it is decoded again each time. Set CIFAR_LAB_CACHE to a folder that can be written."
        log.warning("Can't cache CIFAR-10 in %s (%s): %s", entry.parent, error, advice)
    return arrays or readers.read_source(source)


def _write_cache(entry: Path, arrays: tuple[Split, Split]) -> None:
    """Write all arrays beside, then rename; the caller holds the entry's lock."""
    part = entry.with_name(f"{entry.name}.tmp")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    try:
        part.mkdir()
        for name, array in zip(_ARRAYS, (a for split in arrays for a in split), strict=True):
            with open(part / f"{name}.npy", "wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())  # or a power cut leaves right sizes and zeros
        if entry.exists():
            shutil.rmtree(entry)
        os.rename(part, entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)
