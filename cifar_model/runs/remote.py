"""Runs that train on a cluster, as their folders show them. Nothing here knows Ray: `cluster.trainings` does.

Such a run waits as a ticket that says "sent"; Ray gives it a place on some node. There it takes the ticket, writes into
launcher.json which node that is, and touches this file every few seconds as long as it trains.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from cifar_model.storage import runs_dir
from cifar_model.training.folder import ALIVE_FILE

if TYPE_CHECKING:
    from cifar_model.runs.read import RunInfo

ADDRESS = "CIFAR_LAB_RAY"
LAUNCHER = "launcher.json"
SILENT_SECONDS = 20.0  # a run that has not been heard of for so long has lost its node
AGAIN_SECONDS = 300.0  # the cluster may have been begun anew: what still waits then is sent again

WAITS = "It waits for a place in the cluster and starts on its own."


def cluster_address() -> str | None:
    """The cluster that new trainings go to (CIFAR_LAB_RAY); None where they stay on this machine."""
    return os.environ.get(ADDRESS) or None


def lost_message(launcher: dict[str, Any]) -> str:
    """What to say of a run whose node is not heard of; the second line is not for strangers."""
    return (
        "Its node is not heard of any more. It goes on from its last finished epoch as soon as the cluster has a place "
        f"for it on another.\nThe node was {launcher.get('node')}."
    )


def is_heard(path: Path) -> bool:
    """Whether a process on another host has given a sign of life from a run, by the clock of the storage of both."""
    beats = [0.0]
    for name in (LAUNCHER, ALIVE_FILE):
        with suppress(OSError), open(path / name, "rb") as file:  # opened: else NFS would tell what it remembers
            beats.append(os.fstat(file.fileno()).st_mtime)
    return _storage_time() - max(beats) < SILENT_SECONDS


_ahead = (-math.inf, 0.0)  # when the storage's clock was compared with this machine's, and by how much it is ahead


def _storage_time() -> float:
    global _ahead
    if time.monotonic() - _ahead[0] > 60:
        mark, ahead = runs_dir() / ".clock", 0.0
        with suppress(OSError):
            mark.touch()
            ahead = mark.stat().st_mtime - time.time()
        _ahead = time.monotonic(), ahead
    return time.time() + _ahead[1]


def sending() -> filelock.FileLock:
    """Held by the process that hands runs over."""
    return filelock.FileLock(runs_dir() / ".cluster.lock")


def sent_mark() -> Path:
    """The file that tells by its time when that was done last."""
    return runs_dir() / ".cluster-told"


def is_sending() -> bool:
    """Whether somebody is handing runs over."""
    lock = sending()
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def due(runs: list[RunInfo]) -> list[RunInfo]:
    """Those of these runs that the cluster has to be told of now, in the order in which they began to wait."""
    waiting = [run for run in runs if run.remote and run.state == "queued"]
    try:
        again = _storage_time() - sent_mark().stat().st_mtime > AGAIN_SECONDS
    except OSError:
        again = True
    found = [run for run in waiting if again or run.status.get("sent") is False]
    return sorted(found, key=lambda run: run.status["queued"])
