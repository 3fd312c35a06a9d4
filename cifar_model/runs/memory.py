"""How much memory a training takes, and whether it is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from cifar_model.errors import SettingsError
from cifar_model.networks.size import training_bytes

if TYPE_CHECKING:
    from cifar_model.training.settings import Settings

_CGROUP = Path("/sys/fs/cgroup")


def estimate_memory(settings: Settings) -> int:
    """Bytes that a training with these settings takes at its peak, as `networks.size.training_bytes`."""
    shape = {"filters": settings.filters, "dense": settings.dense} if settings.network == "custom" else {}
    return training_bytes(settings.network, settings.batch_size or 1, **shape)


def memory() -> tuple[int, int]:
    """Bytes of memory that are free and that there are at all, within the limit of a container where one is set."""
    system = psutil.virtual_memory()
    free, total = system.available, system.total
    most, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if most is not None and used is not None:
        # What was read from files counts as used, and is given up when somebody needs it.
        given_up = _inactive_files(_CGROUP / "memory.stat")
        free, total = min(free, max(0, most - used + given_up)), min(total, most)
    return free, total


def check_memory(settings: Settings, *, waits: bool = False) -> None:
    """SettingsError where a training can't fit into the memory that is free, or, where it `waits`, that there is."""
    needed, (free, total) = estimate_memory(settings), memory()
    there = total if waits else free
    if needed > there:
        wide = " or fewer filters" if settings.network == "custom" else ""
        raise SettingsError(
            f"This training needs about {needed / 1e9:.1f} GB of memory, and {there / 1e9:.1f} GB are "
            f"{'there' if waits else 'free'}: choose a smaller batch size than {settings.batch_size}{wide}."
        )


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such system, or "max"
        return None


def _inactive_files(file: Path) -> int:
    try:
        fields = dict(line.split() for line in file.read_text().splitlines())
        return int(fields.get("inactive_file", 0))
    except (OSError, ValueError):
        return 0
