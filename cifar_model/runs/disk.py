"""What runs and caches take on disk, how much they may, and what may go."""

from __future__ import annotations

import math
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cifar_model.errors import RunError, SettingsError
from cifar_model.runs.read import list_runs
from cifar_model.storage import VISITS, caches_dir, runs_dir

QUOTA = "CIFAR_LAB_DISK_GB"
CACHE_DAYS = 30.0  # without use, and a cache goes
KEPT_DAYS = 1.0  # what was used so lately is in use: nothing deletes it unasked
DAY = 86_400.0

# Folders of caches, each with one entry a thing that can be made again, and what it is.
CACHES = {
    "cifar10": "decoded CIFAR-10",
    "cifar10/features": "features of the training images",
    "outliers": "pictures of other things",
    "browser": "networks for browsers",
    "compiled": "compiled networks",
    "sent": "models from other machines",
    VISITS: "pictures of visitors",
}


@dataclass(frozen=True)
class Item:
    """Something on disk. `kind`: "run", "cache", or "leftover" of a deletion that was cut short; `what` in words."""

    kind: str
    name: str
    what: str
    path: Path
    size: int  # bytes
    used: float  # when it was last written, or a cache read; seconds since 1970
    live: bool = False  # a run at work or waiting

    @property
    def days(self) -> float:
        """Since it was last used."""
        return max(0.0, (time.time() - self.used) / DAY)


def quota() -> int | None:
    """Bytes that runs and caches may take together: CIFAR_LAB_DISK_GB; None where it isn't set."""
    if not (text := os.environ.get(QUOTA)):
        return None
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 < gigabytes < math.inf:
        raise SettingsError(f"{QUOTA} is {text!r}: set it to a number of gigabytes above 0.")
    return int(gigabytes * 1e9)


def run_items() -> list[Item]:
    """All runs, and what is left of runs that were being deleted."""
    # To list a run is to read it: when it was written tells.
    found = [
        Item("run", run.name, run.state, run.path, *_measure(run.path, reads=False), run.is_live) for run in list_runs()
    ]
    for path in _children(runs_dir()):
        if path.name.startswith(".deleted-"):
            found.append(Item("leftover", path.name, "of a deleted run", path, *_measure(path)))
    return found


def cache_items() -> list[Item]:
    """All that can be made again."""
    folders, found = [caches_dir() / name for name in CACHES], []
    for folder, (name, what) in zip(folders, CACHES.items(), strict=True):
        for path in _children(folder):
            # A lock may be held; the small notes on which files are known go with nothing.
            if path not in folders and path.suffix != ".lock" and path.name != "known":
                found.append(Item("cache", f"{name}/{path.name}", what, path, *_measure(path)))
    return found


def old_caches(items: list[Item], days: float = CACHE_DAYS) -> list[Item]:
    """Those of these caches that nobody has used for so many days; the pictures of visitors go after a day."""
    return [
        item
        for item in items
        if item.kind == "leftover"
        or (item.kind == "cache" and item.days >= (KEPT_DAYS if item.path.parent.name == VISITS else days))
    ]


def remove(item: Item) -> bool:
    """Delete a cache, a leftover or a run at rest; returns whether it is gone."""
    if item.kind == "run":
        from cifar_model.runs.change import delete  # which refuses a run that has been started meanwhile

        delete(item.name)
    elif item.path.is_dir() and not item.path.is_symlink():
        shutil.rmtree(item.path, ignore_errors=True)
    else:
        with suppress(OSError):
            item.path.unlink()
    return not os.path.lexists(item.path)


def sweep() -> None:
    """Let go what is old, and the oldest caches where the quota is exceeded."""
    caches = cache_items()
    for item in old_caches(caches):
        remove(item)
    if (most := quota()) is None:
        return
    caches = [item for item in caches if os.path.lexists(item.path)]
    used = sum(item.size for item in (*run_items(), *caches))
    for item in sorted(caches, key=lambda item: item.used):
        if used <= most or item.days < KEPT_DAYS:
            break
        if remove(item):
            used -= item.size


def check_quota() -> None:
    """RunError where runs and caches take what they may; caches that nobody uses are cleared before."""
    if (most := quota()) is None:
        return
    sweep()
    used = sum(item.size for item in (*run_items(), *cache_items()))
    if used >= most:
        raise RunError(
            f"Runs and caches take {gigabytes(used)} of the {gigabytes(most)} that they may ({QUOTA}): delete runs "
            "that are no longer needed. `python -m cifar_model clean` shows what takes how much."
        )


def gigabytes(size: int) -> str:
    """A size in words."""
    return f"{size / 1e9:.1f} GB" if size >= 999.5e6 else f"{size / 1e6:,.1f} MB"


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _measure(path: Path, *, reads: bool = True) -> tuple[int, float]:
    """Bytes in a file or folder, and when any of it was last written, or read; links are not followed."""
    size, used = 0, 0.0
    paths = [path]
    while paths:
        one = paths.pop()
        with suppress(OSError):  # gone meanwhile
            status = one.lstat()
            size += status.st_size
            is_folder = one.is_dir() and not one.is_symlink()
            used = max(used, status.st_mtime, status.st_atime if reads and not is_folder else 0.0)
            paths += one.iterdir() if is_folder else ()
    return size, used
