"""How long a run may take."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cifar_model.data.distilled import mini_counts
from cifar_model.data.sources import MINI
from cifar_model.networks.size import multiply_adds
from cifar_model.runs.read import RunInfo, list_runs

if TYPE_CHECKING:
    from cifar_model.training.settings import Settings


@dataclass(frozen=True)
class Estimate:
    """How long a run may take: `seconds`, and whether that was measured on a run of this kind here."""

    seconds: float
    measured: bool


def estimate_time(settings: Settings, found: list[RunInfo] | None = None) -> Estimate:
    """Guess how long these settings take to train on this machine, from the newest run of the same network.

    Without one, from the network's multiply-adds; that may be wrong by a factor of two or three. `found`: all runs,
    newest first, where the caller has just listed them.
    """
    same = ("network", "precision", *(("filters", "dense") if settings.network == "custom" else ()))
    wanted = {key: settings.to_dict()[key] for key in same}
    speed = None
    for run in list_runs() if found is None else found:
        if all(run.settings.get(key) == value for key, value in wanted.items()) and run.history:
            speed = statistics.median(run.column("images_per_second") or [0.0])
            break
    if not (measured := bool(speed)):
        shape = {"filters": settings.filters, "dense": settings.dense} if settings.network == "custom" else {}
        # Seconds an image on two cores: a fixed part, and three passes at 5e10 multiply-adds/s a core.
        seconds = 4e-4 + 3 * multiply_adds(settings.network, **shape) / 1e11
        speed = (os.cpu_count() or 2) / 2 / seconds
    if settings.data == MINI:
        train, held_out = mini_counts()
    else:
        train, held_out = 50_000 * (1 - settings.validation), 50_000 * settings.validation
    images = settings.details.passes * train * settings.fraction + held_out / 3
    startup = 15
    return Estimate(startup + settings.epochs * images / speed, measured)
