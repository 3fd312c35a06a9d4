"""The official layouts: Python and binary batches, loose or in an archive that is never unpacked."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.data import sources
from cifar_model.data.sources import BATCH_NAMES, PIXEL_VALUES, Part, Source, Split, check_labels, fail, split_of
from cifar_model.data.unpickle import PickledArray, restricted_load

_MAX_MEMBER = 64 << 20  # bytes; an official batch has 31 million
MAX_CIFAR100_MEMBER = 256 << 20  # bytes; CIFAR-100's training part has 156 million
_MAX_ARCHIVE = 512 << 20  # bytes once decompressed; the official archives have 186 million


def _as_pictures(rows: np.ndarray) -> np.ndarray:
    """uint8 (n, 3072), all red, then green, then blue → uint8 (n, 32, 32, 3)."""
    planes = rows.reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def read_batches(source: Source) -> Iterator[Part]:
    for file in source.files:
        size = file.stat().st_size
        if size > _MAX_MEMBER:
            fail(file, f"{size:,} bytes", f"at most {_MAX_MEMBER:,}")
        yield batch_part(file, file.read_bytes())


def batch_part(file: Path, data: bytes) -> Part:
    """One file, or archive member, of the official layouts: binary if it ends in .bin, else Python's."""
    x, y = _from_binary(file, data) if file.suffix == ".bin" else _from_pickle(file, data)
    check_labels(file, y)
    return file.name, split_of(file), _as_pictures(x), y


def _from_binary(file: Path, data: bytes) -> Split:
    """Records of one label byte and 3072 pixel bytes."""
    expected = sources.BATCH_IMAGES * (1 + PIXEL_VALUES)
    if len(data) != expected:
        fail(file, f"{len(data):,} bytes", f"{expected:,} ({sources.BATCH_IMAGES:,} pictures)")
    records = np.frombuffer(data, np.uint8).reshape(sources.BATCH_IMAGES, 1 + PIXEL_VALUES)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _from_pickle(file: Path, data: bytes) -> Split:
    batch = restricted_load(file, data)
    if not isinstance(batch, dict):
        fail(file, f"a pickled {type(batch).__name__}", "a dictionary with data and labels")
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    if "labels" not in batch or "data" not in batch:
        found = ", ".join(sorted(str(key)[:40] for key in batch)[:8]) or "nothing"
        hint = " (this is CIFAR-100)" if "fine_labels" in batch else ""
        fail(file, f"the entries {found}{hint}", "data and labels")
    title = batch.get("batch_label", b"")
    title = title.decode("latin1") if isinstance(title, bytes) else title
    title = title if isinstance(title, str) else type(title).__name__
    number = file.name.rpartition("_")[2]
    wanted = "testing batch 1 of 1" if split_of(file) == "test" else f"training batch {number} of 5"
    if title and title != wanted:
        fail(file, f"{title[:60]!r} inside", repr(wanted))
    labels, pixels = batch["labels"], batch["data"]
    if isinstance(labels, PickledArray):
        try:
            labels = labels.to_numpy(whole_numbers=True).reshape(-1).tolist()
        except Exception as error:  # a state of any shape that the pickle likes
            fail(file, f"labels that can't be read ({error})", "a list of whole numbers")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        fail(file, "labels of another kind", "a list of whole numbers")
    if not isinstance(pixels, PickledArray):
        fail(file, f"data of type {type(pixels).__name__}", "an array of uint8")
    try:
        x = pixels.to_numpy()
    except Exception as error:  # a state of any shape that the pickle likes
        fail(file, f"an array that can't be read ({error})", f"uint8 {(sources.BATCH_IMAGES, PIXEL_VALUES)}")
    if len(labels) != sources.BATCH_IMAGES or x.shape != (sources.BATCH_IMAGES, PIXEL_VALUES):
        expected = f"{sources.BATCH_IMAGES:,} labels, data {(sources.BATCH_IMAGES, PIXEL_VALUES)}"
        fail(file, f"{len(labels):,} labels, data {x.shape}", expected)
    return x, np.array([min(max(label, -1), 256) for label in labels], np.int64)


def cifar100_batch(file: Path, data: bytes) -> Split:
    """The official pickle ``train`` or ``test`` of CIFAR-100: pictures and fine labels, int64, 0 to 99."""
    batch = restricted_load(file, data)
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    labels, pixels = batch.get("fine_labels"), batch.get("data")
    if not isinstance(labels, list) or not isinstance(pixels, PickledArray):
        fail(file, "a pickle of something else", "CIFAR-100 with data and fine_labels")
    try:
        x, y = pixels.to_numpy(), np.array(labels, np.int64)
    except Exception as error:  # a state of any shape that the pickle likes
        fail(file, f"an array that can't be read ({error})", f"uint8 (n, {PIXEL_VALUES})")
    if x.ndim != 2 or x.shape[1] != PIXEL_VALUES or y.shape != x.shape[:1] or not len(y) or y.min() < 0 or y.max() > 99:
        fail(file, f"{y.shape} labels, data {x.shape}", f"as many labels from 0 to 99 as rows of {PIXEL_VALUES} pixels")
    return _as_pictures(x), y


class _Limited:
    """A stream that refuses to give more than an official archive could hold (a decompression bomb)."""

    def __init__(self, stream: io.BufferedIOBase, file: Path):
        self.stream, self.file, self.left = stream, file, _MAX_ARCHIVE

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            fail(self.file, f"over {_MAX_ARCHIVE:,} bytes once decompressed", "the 186 million of CIFAR-10")
        return data


def read_archive(source: Source) -> Iterator[Part]:
    """Read the members in memory: nothing is extracted, so no name in the archive matters to the disk."""
    file = source.path
    with open(file, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = _Limited(gzip.GzipFile(fileobj=raw) if packed else raw, file)
        parts: dict[str, Part] = {}
        others: list[str] = []
        try:
            # Of a stream, tarfile asks for `read` alone.
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # ty: ignore[no-matching-overload]
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if name.removesuffix(".bin") not in BATCH_NAMES or not member.isreg():
                        others.append(member.name)
                        continue
                    if name in parts:
                        fail(file, f"{name} twice", "each batch once")
                    if member.size > _MAX_MEMBER:
                        fail(file, f"{name} of {member.size:,} bytes", f"at most {_MAX_MEMBER:,}")
                    parts[name] = batch_part(file / name, archive.extractfile(member).read())
            while stream.read(1 << 20):  # up to gzip's checksum
                pass
        except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError) as error:
            expected = "cifar-10-python.tar.gz or cifar-10-binary.tar.gz, whole"
            fail(file, f"a broken archive ({error})", expected)
    suffix = ".bin" if any(name.endswith(".bin") for name in parts) else ""
    wanted = [name + suffix for name in BATCH_NAMES]
    if sorted(parts) != sorted(wanted):
        held = ", ".join((sorted(parts) or others)[:7]) or "nothing"
        fail(file, f"an archive with {held}", ", ".join(wanted))
    return iter([parts[name] for name in wanted])
