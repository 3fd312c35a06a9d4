"""A pause for all: no run trains or starts until it is over."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cifar_model.errors import LabError
from cifar_model.runs.change import request
from cifar_model.runs.read import live_runs, runs_lock
from cifar_model.runs.records import read_object
from cifar_model.storage import runs_dir, write_json


def _mark() -> Path:
    return runs_dir() / ".held.json"


def is_held() -> bool:
    """Whether all training is paused."""
    return _mark().exists()


def hold_all() -> list[str]:
    """Pause every run that trains, and start none until `start.release_all`; returns the names of those paused now."""
    with runs_lock():
        names = [run.name for run in live_runs() if run.state in ("starting", "running")]
        before = read_object(_mark()).get("paused", [])
        write_json(_mark(), {"paused": sorted({*before, *names})})
    return [name for name in names if _ask(name, "pause")]


def end_hold() -> list[str]:
    """End the pause for all and return the names of the runs that it paused, not of those that were paused before."""
    with runs_lock():
        names = read_object(_mark()).get("paused", [])
        _mark().unlink(missing_ok=True)
    return [name for name in names if isinstance(name, str)]


def _ask(name: str, action: str) -> bool:
    with suppress(LabError):  # it has ended meanwhile
        request(name, action)
        return True
    return False
