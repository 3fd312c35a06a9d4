"""Where CIFAR-10 lies on this machine: looked for, not read."""

from __future__ import annotations

import functools
import os
import re
import tempfile
from pathlib import Path

from cifar_model.data import sources
from cifar_model.data.distilled import mini_source
from cifar_model.data.layouts import layout_of, tree_of
from cifar_model.data.sources import BATCH_NAMES, KERAS_ARCHIVES, MINI, THREE_WAYS, Source, fail, unreadable
from cifar_model.errors import DatasetError

_KERAS_FOLDERS = ("cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py")


def find_source(data_dir: str | os.PathLike[str] | None = None, *, mini: bool = False) -> Source:
    """Find CIFAR-10 without reading it: `data_dir`, else CIFAR10_DIR, else Keras's download cache.

    Where the distilled images that ship with the project will do, as for training, `mini` admits them: asked for
    by the name "mini", or found when no place is named and CIFAR-10 is nowhere.

    Raises DatasetError, naming the three ways to get the data, if there is none.
    """
    if data_dir == MINI:
        if mini and (source := mini_source()):
            return source
        found = "are not in this checkout" if mini else "are for training only: they are synthetic, without test images"
        raise DatasetError(f"The distilled images {found}.\n{THREE_WAYS}")
    given = data_dir or os.environ.get("CIFAR10_DIR")
    if given:
        path = typed_path(given)
        try:
            if source := _source_at(path):
                return source
            found = f"holds no CIFAR-10 (found: {_listing(path)})" if path.exists() else "does not exist"
        except OSError as error:
            raise unreadable(path, error) from error
        raise DatasetError(f"{path} {found}.\n{THREE_WAYS}")
    if source := keras_source() or (mini_source() if mini else None):
        return source
    raise DatasetError(f"No CIFAR-10 found: no --data, no CIFAR10_DIR, none in Keras's cache.\n{THREE_WAYS}")


def typed_path(text: str | os.PathLike[str]) -> Path:
    """A path as people type or paste it: in quotes, with ~, spaces around it, a slash at its end, as file://…"""
    given = os.fspath(text).strip()
    if len(given) > 1 and given[0] == given[-1] and given[0] in "\"'":
        given = given[1:-1].strip()
    given = given.removeprefix("file://")
    return Path(os.path.expanduser(given)).absolute()


def keras_source() -> Source | None:
    """What keras.datasets.cifar10, or `download`, left in Keras's cache; None if nothing."""
    for folder in keras_folders():
        for name in _KERAS_FOLDERS:
            if all(os.path.isfile(folder / name / batch) for batch in BATCH_NAMES):
                return _batches_source("python", folder / name)
        for name in KERAS_ARCHIVES:
            if os.path.isfile(folder / name):
                return Source("archive", folder / name, (folder / name,), sources.ARCHIVE_SHA256)
    return None


def is_available(data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Whether `find_source` finds CIFAR-10: a look at folder listings, no reading, no network."""
    try:
        find_source(data_dir)
    except DatasetError:
        return False
    return True


def _source_at(path: Path) -> Source | None:
    if path.is_file():
        if path.suffix == ".npz":
            both = [file for file in path.parent.glob("*.npz") if file.stem.lower() in ("train", "test")]
            if path in both and len(both) == 2:
                return Source("npz", path.parent, tuple(sorted(both)))
            return Source("npz", path, (path,))
        if path.suffix == ".zip":
            return Source("zip", path, (path,))
        # One file of several stands for its folder.
        if path.suffix in (".parquet", ".csv") or path.name.removesuffix(".bin") in (*BATCH_NAMES, "batches.meta"):
            return _source_at(path.parent)
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
            if any((folder / f"{name}{suffix}").is_file() for name in BATCH_NAMES):
                return _batches_source(kind, folder)
    for name in ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"):
        if (path / name).is_file():
            return Source("archive", path / name, (path / name,))
    return _as_people_keep_it(path) if path.is_dir() else None


def _as_people_keep_it(path: Path) -> Source | None:
    """A folder of one of the layouts of `layouts`; looked through again when one of its upper folders changes."""
    folders = [path, *path.glob("*/"), *path.glob("*/*/")]
    return _looked_through(path, tuple((str(folder), folder.stat().st_mtime_ns) for folder in folders[:1000]))


@functools.lru_cache(maxsize=8)
def _looked_through(path: Path, stamps: tuple) -> Source | None:
    tree = tree_of(path)
    if (layout := layout_of(tree)) in ("folders", "kaggle", "npz"):
        wanted = (".npz",) if layout == "npz" else (".png", ".jpg", ".jpeg", ".csv")
        files = tuple(path / name for name in tree.names if name.lower().endswith(wanted))
        return Source(layout, path, files)
    zips = [path / name for name in tree.names if name.endswith(".zip") and "/" not in name]
    return Source("zip", zips[0], (zips[0],)) if len(zips) == 1 else None


def _batches_source(kind: str, folder: Path) -> Source:
    files = tuple(folder / (name + (".bin" if kind == "binary" else "")) for name in BATCH_NAMES)
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
            fail(folder, _names(shards), f"all of one set of {split} shards")


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
