"""Read all files of one source, whatever its layout, and check that they make up CIFAR-10."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from cifar_model.data.batches import read_archive, read_batches
from cifar_model.data.layouts import read_layout
from cifar_model.data.parquet import read_parquet
from cifar_model.data.sources import Part, Source, Split, fail, file_stats, unreadable
from cifar_model.data.split import fingerprints
from cifar_model.errors import DatasetError


def read_source(source: Source) -> tuple[Split, Split]:
    """Read and check every file of a source. Raises DatasetError alone."""
    before = None
    parts: dict[str, list[Split]] = {"train": [], "test": []}
    seen: dict[bytes, str] = {}
    try:
        before = file_stats(source)
        for name, split, x, y in _READERS[source.kind](source):
            fingerprint = hashlib.sha256(x).digest()
            if fingerprint in seen:
                fail(source.path, f"{name} and {seen[fingerprint]} hold the same images", "different ones")
            seen[fingerprint] = name
            parts[split].append((x, y))
        if file_stats(source) != before:
            raise DatasetError(f"{source.path} changed while it was read: try again when it is complete.")
    except OSError as error:
        raise unreadable(source.path, error) from error
    train, test = (_joined(parts[split]) for split in ("train", "test"))
    _check_splits(source, train, test)
    return train, test


def _joined(parts: list[Split]) -> Split:
    # A lone part is not copied: the training images are 150 MB.
    x, y = parts[0] if len(parts) == 1 else (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    x.flags.writeable = y.flags.writeable = False
    return x, y


def _check_splits(source: Source, train: Split, test: Split) -> None:
    """Train and test must not have been swapped or copied over each other."""
    if len(test[0]) > len(train[0]):
        found = f"{len(train[0]):,} train and {len(test[0]):,} test images"
        fail(source.path, found, "no more test than train: are the files swapped?")
    shared = int(np.isin(fingerprints(test[0]), fingerprints(train[0])).sum())
    if shared * 10 > len(test[0]):  # the real ones share a handful of duplicates
        found = f"{shared:,} of the {len(test[0]):,} test images among the training images"
        fail(source.path, found, "different ones: is a train file named as test?")


_READERS: dict[str, Callable[[Source], Iterator[Part]]] = {
    "parquet": read_parquet,
    "python": read_batches,
    "binary": read_batches,
    "archive": read_archive,
    "folders": read_layout,
    "kaggle": read_layout,
    "npz": read_layout,
    "zip": read_layout,
}
