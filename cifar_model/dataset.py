"""Find, fetch, verify and read CIFAR-10.

Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images": 50,000 training and 10,000 test
pictures of 32×32 pixels in ten classes, https://www.cs.toronto.edu/~kriz/cifar.html.

Whatever the layout on disk, the pictures are read and checked once; afterwards they are memory-mapped from a
cache that is keyed by the content of the files.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import logging
import os
import pickle
import pickletools
import re
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn

import filelock
import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import DatasetError
from cifar_model.files import cache_folder

log = logging.getLogger(__name__)

Split = tuple[np.ndarray, np.ndarray]
Progress = Callable[[int, int], None]

# The official archive, and what keras.datasets.cifar10 (keras/src/datasets/cifar10.py) knows of it.
ARCHIVE_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
ARCHIVE_BYTES = 170_498_071
MINI = "mini"  # the name of the distilled pictures, as in --data mini
TEST_SET = "10,000 real test pictures of CIFAR-10 (JPEG q75 copy)"  # that the shipped cards' scores are of
PARTIAL_NAME = "cifar-10-python.tar.gz.partial"  # in Keras's datasets folder, until it is whole and verified
RETRY_SECONDS = 1.0  # after a connection that broke on its way
# Keras 3 unpacks into, and Keras 2 unpacked into, these names below its datasets folder.
_KERAS_ARCHIVES = ("cifar-10-batches-py-target_archive", "cifar-10-batches-py.tar.gz")
_KERAS_FOLDERS = ("cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py")

BATCH_IMAGES = 10_000  # pictures in each file of the official layouts
_PIXELS = 3 * IMAGE_SIZE * IMAGE_SIZE
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_MAX_MEMBER = 64 << 20  # bytes; an official batch has 31 million
MAX_CIFAR100_MEMBER = 256 << 20  # bytes; CIFAR-100's training part has 156 million
_MAX_ARCHIVE = 512 << 20  # bytes once decompressed; the official archives have 186 million
_MAX_PARQUET_ROWS = 1_000_000
_MAX_PICTURE = 64 << 10  # bytes of one encoded picture; 32×32 pixels uncompressed are 3 kB

_CACHE_FORMAT = 1  # part of the cache's key: raise it when the arrays' meaning changes
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_LOCK_SECONDS = 300

THREE_WAYS = f"""Three ways to get CIFAR-10:
  1. Keras's own download:   python -m cifar_model data --download
     (or: python -c "import keras; keras.datasets.cifar10.load_data()")
  2. the official archive:   {ARCHIVE_URL}
     then --data cifar-10-python.tar.gz, or set CIFAR10_DIR to it
  3. the Parquet files:      https://huggingface.co/datasets/uoft-cs/cifar10 (train-*.parquet, test-*.parquet)
     then --data FOLDER, or set CIFAR10_DIR to it"""


@dataclass(frozen=True)
class Source:
    """Where pictures lie on disk: `kind` is "parquet", "python", "binary" or "archive" for CIFAR-10, or "mini"."""

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
            "mini": "distilled pictures (shipped)",
        }[self.kind]


# ---------------------------------------------------------------------------------------------- finding


def find_source(data_dir: str | os.PathLike[str] | None = None, *, mini: bool = False) -> Source:
    """Find CIFAR-10 without reading it: `data_dir`, else CIFAR10_DIR, else Keras's download cache.

    Where the distilled pictures that ship with the project will do, as for training, `mini` admits them: asked for
    by the name "mini", or found when no place is named and CIFAR-10 is nowhere.

    Raises DatasetError, naming the three ways to get the data, if there is none.
    """
    if data_dir == MINI:
        if mini and (source := mini_source()):
            return source
        found = "are not in this checkout" if mini else "are for training alone: they are synthetic, with no test part"
        raise DatasetError(f"The distilled pictures {found}.\n{THREE_WAYS}")
    given = data_dir or os.environ.get("CIFAR10_DIR")
    if given:
        path = Path(os.path.expanduser(given)).absolute()
        try:
            if source := _source_at(path):
                return source
            found = f"holds no CIFAR-10 (found: {_listing(path)})" if path.exists() else "does not exist"
        except OSError as error:
            raise _unreadable(path, error) from error
        raise DatasetError(f"{path} {found}.\n{THREE_WAYS}")
    if source := keras_source() or (mini_source() if mini else None):
        return source
    raise DatasetError(f"No CIFAR-10 found: no --data, no CIFAR10_DIR, none in Keras's cache.\n{THREE_WAYS}")


def keras_source() -> Source | None:
    """What keras.datasets.cifar10, or `download`, left in Keras's cache; None if nothing."""
    for folder in keras_folders():
        for name in _KERAS_FOLDERS:
            if all(os.path.isfile(folder / name / batch) for batch in _BATCHES):
                return _batches_source("python", folder / name)
        for name in _KERAS_ARCHIVES:
            if os.path.isfile(folder / name):
                return Source("archive", folder / name, (folder / name,), ARCHIVE_SHA256)
    return None


def mini_dir() -> Path:
    """Where the distilled pictures lie: they ship with the project."""
    return Path(__file__).resolve().parent.parent / "assets" / "mini"


def mini_source() -> Source | None:
    """The distilled pictures that ship with the project; None in a checkout without them."""
    files = tuple(mini_dir() / name for name in ("train.png", "validation.png"))
    return Source(MINI, mini_dir(), files) if all(file.is_file() for file in files) else None


def mini_counts() -> tuple[int, int]:
    """How many distilled pictures there are to train and to validate with, by the size of their files; 0 where none."""
    from PIL import Image

    counts = []
    source = mini_source()
    for file in source.files if source else ():
        with Image.open(file) as sheet:  # reads the head alone
            counts.append(sheet.width * sheet.height // IMAGE_SIZE**2)
    return tuple(counts) or (0, 0)


def mini_score(network: str) -> tuple[float, int] | None:
    """What `network` scores on CIFAR-10's test images after learning from the distilled pictures alone.

    Read from the card beside them: mean accuracy (0 to 1) and the number of runs; None where it says nothing.
    """
    try:
        score = json.loads((mini_dir() / "card.json").read_text(encoding="utf-8"))["scores"][network]
        return float(score["real_test_accuracy_mean"]), int(score["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def describe_mini(network: str) -> str:
    """What the distilled pictures are, and what to expect of a network that learns from them alone."""
    expected = ""
    if score := mini_score(network):
        expected = (
            f"After that, {network} gets {100 * score[0]:.0f} % of the {TEST_SET} right (mean of {score[1]} runs). "
        )
    return (
        f"{mini_counts()[0]:,} synthetic pictures that ship with this project, distilled from CIFAR-10: optimised so "
        f"that a network that learns from them alone recognises real photographs. {expected}"
        "The validation pictures are synthetic too: the validation accuracy says how well such pictures are learnt, "
        "not how well photographs are recognised."
    )


def is_available(data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Whether `find_source` finds CIFAR-10: a look at folder listings, no reading, no network."""
    try:
        find_source(data_dir)
    except DatasetError:
        return False
    return True


def _source_at(path: Path) -> Source | None:
    if path.is_file():
        if path.suffix == ".parquet":
            raise DatasetError(f"{path} is one file: name the folder with train-* and test-*.parquet.")
        return Source("archive", path, (path,))
    for folder in (path, path / "data", path / "plain_text"):
        train, test = (sorted(folder.glob(f"{split}-*.parquet")) for split in ("train", "test"))
        if train or test:
            for split, shards in (("train", train), ("test", test)):
                _check_shards(folder, split, shards)
            return Source("parquet", folder, (*train, *test))
    for kind, suffix in (("python", ""), ("binary", ".bin")):
        inner = path / ("cifar-10-batches-py" if kind == "python" else "cifar-10-batches-bin")
        for folder in (path, inner):
            if any((folder / f"{name}{suffix}").is_file() for name in _BATCHES):
                return _batches_source(kind, folder)
    for name in ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"):
        if (path / name).is_file():
            return Source("archive", path / name, (path / name,))
    return None


def _batches_source(kind: str, folder: Path) -> Source:
    files = tuple(folder / (name + (".bin" if kind == "binary" else "")) for name in _BATCHES)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DatasetError(f"{folder}: {', '.join(missing)} missing; expected {_names(files)}.")
    return Source(kind, folder, files)


def _check_shards(folder: Path, split: str, shards: list[Path]) -> None:
    """All of `split-00000-of-00002.parquet`, …, or files that don't count themselves."""
    if not shards:
        raise DatasetError(f"{folder}: no {split}-*.parquet next to {_listing(folder)}.")
    counted = [re.search(r"-(\d+)-of-(\d+)\.parquet$", shard.name) for shard in shards]
    if any(counted):
        numbers = [(int(m[1]), int(m[2])) if m else None for m in counted]
        total = next(n[1] for n in numbers if n)
        if numbers != [(i, total) for i in range(total)]:
            _fail(folder, _names(shards), f"all of one set of {split} shards")


def keras_folders() -> list[Path]:
    """Keras's datasets folders, the one that it writes first (keras/src/utils/file_utils.py)."""
    home = os.environ.get("KERAS_HOME")
    preferred = Path(home or os.path.expanduser("~/.keras"))
    fallback = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / ".keras"
    return [folder / "datasets" for folder in (preferred, fallback)]


def _names(files: tuple[Path, ...] | list[Path]) -> str:
    return ", ".join(file.name for file in files)


def _listing(path: Path) -> str:
    names = sorted(entry.name for entry in path.iterdir())
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more if names else "nothing"


# --------------------------------------------------------------------------------------------- fetching


def partial_download() -> Path | None:
    """What a broken `download` has left to go on from; None if nothing."""
    files = (folder / PARTIAL_NAME for folder in keras_folders())
    return next((file for file in files if file.is_file() and file.stat().st_size), None)


def download(progress: Progress | None = None) -> Path:
    """Fetch the official archive to where Keras looks for it, and return its path.

    Written here rather than with keras.utils.get_file, since importing Keras imports TensorFlow, and since that
    one starts anew after a broken connection. What has arrived is kept beside the target, under a name that
    nobody takes for the archive, until it is complete and has the SHA-256 that Keras expects: a connection that
    breaks is taken up again where it broke (RFC 9110, range requests), within this call and by the next one.
    `progress` is called with the bytes so far, those of earlier calls included, and in all.

    Raises DatasetError without network, if another process is at it, or if what arrived is something else.
    """
    folder = _download_folder()
    part, target = folder / PARTIAL_NAME, folder / _KERAS_ARCHIVES[0]
    lock = filelock.FileLock(f"{part}.lock", timeout=0)
    try:
        with lock:
            try:
                resumed = _size(part) > 0
                _fetch_whole(part, progress)
                if resumed and not _is_official(part):  # the rest did not fit what an earlier call had left
                    part.unlink()
                    _fetch_whole(part, progress)
                _verify(part)
                os.replace(part, target)
            finally:
                with suppress(OSError):
                    os.unlink(lock.lock_file)
    except filelock.Timeout:
        raise DatasetError("Another process is downloading CIFAR-10 already: wait for it.") from None
    except (OSError, http.client.HTTPException) as error:
        plain = isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError)
        reason = error.reason if plain else error  # "HTTP Error 404: Not Found", "Connection refused"
        arrived = _size(part) / 1e6
        kept = f" {arrived:,.1f} MB have arrived and are kept: the next try goes on there." if arrived else ""
        raise DatasetError(f"Can't fetch {ARCHIVE_URL}: {reason}.{kept}\n{THREE_WAYS}") from error
    return target


def _verify(part: Path) -> None:
    """Delete what is not the official archive, and raise DatasetError."""
    size = _size(part)
    if _is_official(part):
        return
    found = f"{'over ' if size > ARCHIVE_BYTES else ''}{size:,} bytes, SHA-256 {_sha256(part)}"
    part.unlink()
    raise DatasetError(
        f"{ARCHIVE_URL} sent something else than CIFAR-10: {found}; expected {ARCHIVE_BYTES:,} bytes, "
        f"SHA-256 {ARCHIVE_SHA256}. Try again, or another network."
    )


def _download_folder() -> Path:
    """The first of Keras's folders that can be written to."""
    folders = keras_folders()
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    raise DatasetError(f"Can't write to {folders[0]}, Keras's download folder: set KERAS_HOME.")


def _fetch_whole(part: Path, progress: Progress | None) -> None:
    """Fill `part` to its end, asking again for the rest while each connection brings something."""
    while True:
        before = _size(part)
        try:
            _fetch(part, progress)
            return
        except urllib.error.HTTPError as error:
            if error.code != 416 or not before:
                raise
            part.unlink()  # the server has less than we hold: begin anew
        except (OSError, http.client.HTTPException):
            if _size(part) <= before:
                raise
            time.sleep(RETRY_SECONDS)


def _fetch(part: Path, progress: Progress | None) -> None:
    """One connection: append to `part` what it lacks, or all of it from a server that sends no parts."""
    start = _size(part)
    if start >= ARCHIVE_BYTES:
        return
    request = urllib.request.Request(ARCHIVE_URL, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        goes_on = answer.status == 206 and (answer.headers["Content-Range"] or "").startswith(f"bytes {start}-")
        done = start if goes_on else 0
        promised = answer.headers["Content-Length"]
        end = done + int(promised) if promised and promised.isdigit() else None
        with open(part, "ab" if goes_on else "wb") as file:
            while done <= ARCHIVE_BYTES and (chunk := answer.read(1 << 18)):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(min(done, ARCHIVE_BYTES), ARCHIVE_BYTES)
    if end and done < min(end, ARCHIVE_BYTES):  # urllib takes a connection that breaks here for a file's end
        raise ConnectionError(f"the connection broke after {done:,} of {end:,} bytes")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _is_official(file: Path) -> bool:
    return _size(file) == ARCHIVE_BYTES and _sha256(file) == ARCHIVE_SHA256


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---------------------------------------------------------------------------------------------- loading


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
        download(progress)
    source = find_source(data_dir)
    entry = cache_entry(source)
    return _open_cache(entry) or _fill_cache(source, entry)


def cache_root() -> Path:
    """Where the decoded arrays lie: CIFAR_LAB_CACHE, else the user's cache directory (`files.cache_folder`)."""
    chosen = os.environ.get("CIFAR_LAB_CACHE")
    root = os.path.expanduser(chosen) if chosen else cache_folder()
    return Path(root) / "cifar10"


def cache_entry(source: Source) -> Path:
    """The directory, existing or not, that caches the arrays of this source; its name follows the content.

    Raises DatasetError if a file can't be read, or is not the official archive where it should be.
    """
    try:
        stats = _stats(source)
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
        raise _unreadable(source.path, error) from error
    return cache_root() / key


def _content_key(source: Source) -> str:
    """SHA-256 over the layout and the content of all files."""
    digest = hashlib.sha256(f"{_CACHE_FORMAT} {source.kind}".encode())
    for file in source.files:
        found = _sha256(file)
        if source.sha256 and found != source.sha256:
            raise DatasetError(
                f"{file}: SHA-256 {found}, expected {source.sha256}: truncated or not the official archive. "
                "Delete it, then: python -m cifar_model data --download"
            )
        digest.update(f" {_split(file)} {found}".encode())
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


def _stats(source: Source) -> list[tuple[int, int, int]]:
    return [(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in (file.stat() for file in source.files)]


def _split(file: Path) -> str:
    return "test" if file.name.startswith("test") else "train"


def _open_cache(entry: Path) -> tuple[Split, Split] | None:
    """The arrays of a cache entry, or None if it is absent or broken."""
    try:
        arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        good = x.dtype == np.uint8 and x.shape == (len(y), IMAGE_SIZE, IMAGE_SIZE, 3) and x.flags.c_contiguous
        if not good or y.dtype != np.int64 or y.ndim != 1 or not _labels_ok(y):
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
            arrays = _read(source)
            _write_cache(entry, arrays)
            if cached := _open_cache(entry):
                return cached
    except (OSError, NotImplementedError) as error:  # _read raises DatasetError alone; Timeout is an OSError
        advice = "it is decoded again each time. Set CIFAR_LAB_CACHE to a folder that can be written."
        log.warning("Can't cache CIFAR-10 in %s (%s): %s", entry.parent, error, advice)
    return arrays or _read(source)


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


# ---------------------------------------------------------------------------------------------- reading


def _read(source: Source) -> tuple[Split, Split]:
    """Read and check every file of a source. Raises DatasetError alone."""
    before = None
    parts: dict[str, list[Split]] = {"train": [], "test": []}
    seen: dict[bytes, str] = {}
    try:
        before = _stats(source)
        for name, split, x, y in _READERS[source.kind](source):
            fingerprint = hashlib.sha256(x).digest()
            if fingerprint in seen:
                _fail(source.path, f"{name} and {seen[fingerprint]} hold the same pictures", "different ones")
            seen[fingerprint] = name
            parts[split].append((x, y))
        if _stats(source) != before:
            raise DatasetError(f"{source.path} changed while it was read: try again when it is complete.")
    except OSError as error:
        raise _unreadable(source.path, error) from error
    train, test = (_joined(parts[split]) for split in ("train", "test"))
    _check_splits(source, train, test)
    return train, test


def _joined(parts: list[Split]) -> Split:
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    x.flags.writeable = y.flags.writeable = False
    return x, y


def _check_splits(source: Source, train: Split, test: Split) -> None:
    """Train and test must not have been swapped or copied over each other."""
    if len(test[0]) > len(train[0]):
        found = f"{len(train[0]):,} train and {len(test[0]):,} test pictures"
        _fail(source.path, found, "no more test than train: are the files swapped?")
    trained = {picture.tobytes() for picture in train[0]}
    shared = sum(picture.tobytes() in trained for picture in test[0])
    if shared * 10 > len(test[0]):  # the real ones share a handful of duplicates
        found = f"{shared:,} of the {len(test[0]):,} test pictures among the train pictures"
        _fail(source.path, found, "different ones: is a train file named as test?")


def _labels_ok(y: np.ndarray) -> bool:
    return len(y) > 0 and 0 <= y.min() and y.max() < len(CLASS_NAMES)


def _check_labels(where: Any, y: np.ndarray) -> None:
    if not _labels_ok(y):
        found = f"labels from {y.min()} to {y.max()}" if len(y) else "no labels"
        _fail(where, found, f"0 to {len(CLASS_NAMES) - 1}")


def _fail(where: Any, found: str, expected: str) -> NoReturn:
    raise DatasetError(f"{where}: found {found}; expected {expected}.")


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(f"{error.filename or path} can't be read: {error.strerror or error}.")


def _as_pictures(rows: np.ndarray) -> np.ndarray:
    """uint8 (n, 3072), all red, then green, then blue → uint8 (n, 32, 32, 3)."""
    planes = rows.reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


Part = tuple[str, str, np.ndarray, np.ndarray]  # file name, split, pictures, labels


def _read_parquet(source: Source) -> Iterator[Part]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in source.files:
        try:
            with pq.ParquetFile(file) as parquet:
                schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
                types = {field.name: field.type for field in schema}
                img, label = types.get("img", pa.null()), types.get("label", pa.null())
                encoded = img.field("bytes").type if _has_bytes(img) else pa.null()
                if encoded not in (pa.binary(), pa.large_binary()) or not pa.types.is_integer(label):
                    found = ", ".join(f"{name} ({kind})" for name, kind in types.items())[:300]
                    _fail(file, f"the columns {found}", "img (struct with bytes) and label (an integer)")
                if not 0 < rows <= _MAX_PARQUET_ROWS:
                    _fail(file, f"{rows:,} rows", f"1 to {_MAX_PARQUET_ROWS:,}")
                x = np.empty((rows, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
                y = np.empty(rows, np.int64)
                row = 0
                for batch in parquet.iter_batches(1000, columns=["img.bytes", "label"]):
                    labels = batch.column("label")
                    if labels.null_count:
                        _fail(file, f"{labels.null_count} rows without a label", "a label in each")
                    y[row : row + len(batch)] = labels.to_numpy(zero_copy_only=False)
                    for encoded in batch.column("img").field("bytes").to_pylist():
                        x[row] = decoded_png(file, row, encoded)
                        row += 1
        except (pa.ArrowException, OSError, ValueError) as error:  # truncated, not Parquet, counts that lie
            if getattr(error, "errno", None):  # the system's error, not Arrow's
                raise
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise DatasetError(f"{file}: not a whole Parquet file ({reason}). Fetch it again.") from error
        if row != rows:
            _fail(file, f"{row:,} pictures", f"{rows:,}")
        _check_labels(file, y)
        yield file.name, _split(file), x, y


def _has_bytes(img: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(img) and img.get_field_index("bytes") >= 0


def decoded_png(file: Path, row: int, encoded: bytes | None) -> np.ndarray:
    """One encoded picture → uint8 (32, 32, 3)."""
    from PIL import Image

    expected = f"{IMAGE_SIZE}×{IMAGE_SIZE} RGB pixels as PNG or JPEG"
    where = f"{file}, row {row}"
    if not encoded or len(encoded) > _MAX_PICTURE:
        _fail(where, f"{len(encoded or b''):,} bytes", f"{expected}, at most {_MAX_PICTURE:,} bytes")
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            if image.size != (IMAGE_SIZE, IMAGE_SIZE) or image.mode != "RGB":
                _fail(where, f"{image.width}×{image.height} {image.mode}", expected)
            return np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        _fail(where, f"an unreadable picture ({error})", expected)


def _read_batches(source: Source) -> Iterator[Part]:
    for file in source.files:
        size = file.stat().st_size
        if size > _MAX_MEMBER:
            _fail(file, f"{size:,} bytes", f"at most {_MAX_MEMBER:,}")
        yield _batch(file, file.read_bytes())


def _batch(file: Path, data: bytes) -> Part:
    """One file, or archive member, of the official layouts: binary if it ends in .bin, else Python's."""
    x, y = _from_binary(file, data) if file.suffix == ".bin" else _from_pickle(file, data)
    _check_labels(file, y)
    return file.name, _split(file), _as_pictures(x), y


def _from_binary(file: Path, data: bytes) -> Split:
    """Records of one label byte and 3072 pixel bytes."""
    expected = BATCH_IMAGES * (1 + _PIXELS)
    if len(data) != expected:
        _fail(file, f"{len(data):,} bytes", f"{expected:,} ({BATCH_IMAGES:,} pictures)")
    records = np.frombuffer(data, np.uint8).reshape(BATCH_IMAGES, 1 + _PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _from_pickle(file: Path, data: bytes) -> Split:
    batch = _restricted_load(file, data)
    if not isinstance(batch, dict):
        _fail(file, f"a pickled {type(batch).__name__}", "a dictionary with data and labels")
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    if "labels" not in batch or "data" not in batch:
        found = ", ".join(sorted(str(key)[:40] for key in batch)[:8]) or "nothing"
        hint = " (this is CIFAR-100)" if "fine_labels" in batch else ""
        _fail(file, f"the entries {found}{hint}", "data and labels")
    title = batch.get("batch_label", b"")
    title = title.decode("latin1") if isinstance(title, bytes) else title
    title = title if isinstance(title, str) else type(title).__name__
    number = file.name.rpartition("_")[2]
    wanted = "testing batch 1 of 1" if _split(file) == "test" else f"training batch {number} of 5"
    if title and title != wanted:
        _fail(file, f"{title[:60]!r} inside", repr(wanted))
    labels, pixels = batch["labels"], batch["data"]
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        _fail(file, "labels of another kind", "a list of whole numbers")
    if not isinstance(pixels, _PickledArray):
        _fail(file, f"data of type {type(pixels).__name__}", "an array of uint8")
    try:
        x = pixels.to_numpy()
    except Exception as error:  # a state of any shape that the pickle likes
        _fail(file, f"an array that can't be read ({error})", f"uint8 {(BATCH_IMAGES, _PIXELS)}")
    if len(labels) != BATCH_IMAGES or x.shape != (BATCH_IMAGES, _PIXELS):
        expected = f"{BATCH_IMAGES:,} labels, data {(BATCH_IMAGES, _PIXELS)}"
        _fail(file, f"{len(labels):,} labels, data {x.shape}", expected)
    return x, np.array([min(max(label, -1), 256) for label in labels], np.int64)


def cifar100_batch(file: Path, data: bytes) -> Split:
    """The official pickle ``train`` or ``test`` of CIFAR-100: pictures and fine labels, int64, 0 to 99."""
    batch = _restricted_load(file, data)
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    labels, pixels = batch.get("fine_labels"), batch.get("data")
    if not isinstance(labels, list) or not isinstance(pixels, _PickledArray):
        _fail(file, "a pickle of something else", "CIFAR-100 with data and fine_labels")
    try:
        x, y = pixels.to_numpy(), np.array(labels, np.int64)
    except Exception as error:  # a state of any shape that the pickle likes
        _fail(file, f"an array that can't be read ({error})", f"uint8 (n, {_PIXELS})")
    if x.ndim != 2 or x.shape[1] != _PIXELS or y.shape != x.shape[:1] or not len(y) or y.min() < 0 or y.max() > 99:
        _fail(file, f"{y.shape} labels, data {x.shape}", f"as many labels from 0 to 99 as rows of {_PIXELS} pixels")
    return _as_pictures(x), y


# ---------------------------------------------------------------------------------------------- pickles

# What the pickle of a dictionary of arrays, lists, numbers and strings is made of, in protocols 0 to 5.
_OPCODES = frozenset(
    """PROTO FRAME STOP MARK MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET GLOBAL
    STACK_GLOBAL REDUCE BUILD NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE
    SHORT_BINUNICODE BINUNICODE8 LIST EMPTY_LIST APPEND APPENDS DICT EMPTY_DICT SETITEM SETITEMS
    TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3""".split()
)
# Shared tuples nested n deep take 2**n steps to hash: an honest batch has a dozen tuples and few references.
_MAX_TUPLES = _MAX_REFERENCES = 24
# An honest batch takes about 40,000, CIFAR-100 with its file names 400,000; each could make an object of 60 bytes.
_MAX_STEPS = 1 << 19


class _PickledArray:
    """Stands in for numpy's array while unpickling, so that NumPy never sees a hostile state."""

    def __init__(self, *arguments: Any):
        self.state = arguments  # numpy.core.numeric._frombuffer: buffer, dtype, shape, order

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, buffer = state
        self.state = buffer, dtype, shape, "F" if is_fortran else "C"

    def to_numpy(self) -> np.ndarray:
        """The array as uint8, of any shape; raises whatever a wrong state calls for."""
        buffer, dtype, shape, order = self.state
        if dtype.name not in ("u1", "uint8", b"u1", b"uint8"):
            raise ValueError("another dtype than uint8")
        return np.frombuffer(buffer, np.uint8).reshape(shape, order=order)


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


_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "numpy.ndarray",  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _PickledDtype,
    ("_codecs", "encode"): _Latin1,
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _GLOBALS[f"{_core}.multiarray", "_reconstruct"] = _PickledArray
    _GLOBALS[f"{_core}.numeric", "_frombuffer"] = _PickledArray


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module[:60]}.{name[:60]}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it asks for a persistent object")


def _restricted_load(file: Path, data: bytes) -> Any:
    """Unpickle plain containers, numbers, strings and arrays (as _PickledArray); refuse all else."""
    try:
        counts = {"tuples": 0, "references": 0}
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            name = opcode.name
            if name not in _OPCODES:
                raise pickle.UnpicklingError(f"it uses {name}")
            if number > _MAX_STEPS:
                raise pickle.UnpicklingError(f"it takes over {_MAX_STEPS:,} steps")
            if "PUT" in name and argument > number:  # or a far index makes a huge memo
                raise pickle.UnpicklingError(f"it stores at {argument}")
            counts["tuples"] += "TUPLE" in name
            counts["references"] += "GET" in name
        if counts["tuples"] > _MAX_TUPLES or counts["references"] > _MAX_REFERENCES:
            raise pickle.UnpicklingError("it is nested too deeply")
        return _RestrictedUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a broken pickle raises whatever its bytes happen to call for
        reason = str(error).strip().rstrip(".")[:200] or type(error).__name__
        expected = "a CIFAR-10 batch: arrays, lists, numbers and strings, nothing else"
        _fail(file, f"a pickle that can't be admitted ({reason})", expected)


# --------------------------------------------------------------------------------------------- archives


class _Limited:
    """A stream that refuses to give more than an official archive could hold (a decompression bomb)."""

    def __init__(self, stream: IO[bytes], file: Path):
        self.stream, self.file, self.left = stream, file, _MAX_ARCHIVE

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            _fail(self.file, f"over {_MAX_ARCHIVE:,} bytes once decompressed", "the 186 million of CIFAR-10")
        return data


def _read_archive(source: Source) -> Iterator[Part]:
    """Read the members in memory: nothing is extracted, so no name in the archive matters to the disk."""
    file = source.path
    with open(file, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = _Limited(gzip.GzipFile(fileobj=raw) if packed else raw, file)
        parts: dict[str, Part] = {}
        others: list[str] = []
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if name.removesuffix(".bin") not in _BATCHES or not member.isreg():
                        others.append(member.name)
                        continue
                    if name in parts:
                        _fail(file, f"{name} twice", "each batch once")
                    if member.size > _MAX_MEMBER:
                        _fail(file, f"{name} of {member.size:,} bytes", f"at most {_MAX_MEMBER:,}")
                    parts[name] = _batch(file / name, archive.extractfile(member).read())
            while stream.read(1 << 20):  # up to gzip's checksum
                pass
        except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError) as error:
            expected = "cifar-10-python.tar.gz or cifar-10-binary.tar.gz, whole"
            _fail(file, f"a broken archive ({error})", expected)
    suffix = ".bin" if any(name.endswith(".bin") for name in parts) else ""
    wanted = [name + suffix for name in _BATCHES]
    if sorted(parts) != sorted(wanted):
        held = ", ".join((sorted(parts) or others)[:7]) or "nothing"
        _fail(file, f"an archive with {held}", ", ".join(wanted))
    return iter([parts[name] for name in wanted])


_READERS: dict[str, Callable[[Source], Iterator[Part]]] = {
    "parquet": _read_parquet,
    "python": _read_batches,
    "binary": _read_batches,
    "archive": _read_archive,
}
