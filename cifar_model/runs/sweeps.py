"""Sweeps: trainings that differ in some settings, shown and controlled as one thing.

Each trial is an ordinary run. What makes it a trial is a note in its own settings.json, so that a sweep is whatever is
left of its runs, renamed or not: there is no other record of it.
"""

from __future__ import annotations

import itertools
import shlex
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cifar_model.errors import LabError, RunError, SettingsError
from cifar_model.runs.change import request
from cifar_model.runs.disk import check_quota
from cifar_model.runs.memory import check_memory
from cifar_model.runs.names import MAX_NAME_LENGTH, check_name
from cifar_model.runs.queue import check_room, enqueue, wait_for_me
from cifar_model.runs.read import RunInfo, list_runs, runs_lock
from cifar_model.runs.remote import cluster_address
from cifar_model.runs.start import start_waiting
from cifar_model.storage import runs_dir
from cifar_model.training.folder import write_settings
from cifar_model.training.settings import Settings


@dataclass(frozen=True)
class Sweep:
    """A sweep as its runs show it: `runs` in the order of their trials, `varied` the settings that differ by plan."""

    name: str
    runs: tuple[RunInfo, ...]
    varied: tuple[str, ...]

    @property
    def is_live(self) -> bool:
        """Whether one of its runs trains or waits."""
        return any(run.is_live for run in self.runs)

    @property
    def ranked(self) -> list[RunInfo]:
        """Its runs by their best validation accuracy so far, highest first; last those that have none yet."""
        scores = {run.name: validation_accuracy(run) for run in self.runs}
        return sorted(self.runs, key=lambda run: -1.0 if scores[run.name] is None else scores[run.name], reverse=True)

    @property
    def best(self) -> RunInfo | None:
        """The run of the highest validation accuracy so far; None before the first epoch of any."""
        first = self.ranked[0]
        return first if validation_accuracy(first) is not None else None


def validation_accuracy(run: RunInfo) -> float | None:
    """A run's best validation accuracy so far, 0–1; None before its first epoch is done."""
    return max(run.column("val_accuracy"), default=None)


def list_sweeps(found: Iterable[RunInfo] | None = None) -> list[Sweep]:
    """All sweeps, newest first; `found`: all runs, where the caller has just listed them."""
    trials: dict[str, list[RunInfo]] = {}
    for run in list_runs() if found is None else found:
        if run.sweep:
            trials.setdefault(run.sweep["name"], []).append(run)
    return [
        Sweep(name, tuple(sorted(runs, key=lambda run: run.sweep["trial"])), _varied(runs))
        for name, runs in trials.items()
    ]


def _varied(runs: list[RunInfo]) -> tuple[str, ...]:
    named = runs[0].sweep.get("varied")
    return tuple(field for field in map(str, named) if field in runs[0].settings) if isinstance(named, list) else ()


def in_words(settings: dict[str, Any], varied: Iterable[str]) -> str:
    """What a trial differs in: "learning rate 0.001, seed 2"."""
    return ", ".join(f"{field.replace('_', ' ')} {value_in_words(settings[field])}" for field in varied)


def value_in_words(value: Any) -> str:
    """A setting's value for a person."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_sweep(name: str) -> Sweep:
    """The sweep of this name as it stands now; RunError if there is none."""
    sweeps = {sweep.name: sweep for sweep in list_sweeps()}
    if name not in sweeps:
        known = f"There are: {', '.join(list(sweeps)[:10])}." if sweeps else "There are none yet."
        raise RunError(f"There is no sweep named {name[:80]!r}. {known}")
    return sweeps[name]


def run_names(name: str, count: int) -> list[str]:
    """What the runs of a sweep are called: NAME-01, NAME-02 …; SettingsError where no run may be called so."""
    check_name(name)
    names = [f"{name}-{number:0{max(2, len(str(count)))}d}" for number in range(1, count + 1)]
    if len(names[-1]) > MAX_NAME_LENGTH:
        raise SettingsError(f"The sweep's name {name!r} is too long: its runs are called {names[-1]}.")
    return names


def new_name() -> str:
    """The first free name like "sweep-1"."""
    taken = {sweep.name for sweep in list_sweeps()} | {path.name for path in runs_dir().glob("sweep-*")}
    return next(
        name
        for name in map("sweep-{}".format, itertools.count(1))
        if name not in taken and not any(other.startswith(f"{name}-") for other in taken)
    )


def make_runs(name: str, trials: Sequence[Settings], varied: Iterable[str], *, queue: bool = True) -> list[str]:
    """Make the folders of a sweep's runs, all or none, and return their names.

    With `queue` they wait for their turns in the queue, where a sweep counts as one; without it, for as long as this
    process lives, which is to have them started. Raises RunError where the sweep or one of its runs exists already, or
    where too many wait, and SettingsError where a training would not fit into this machine's memory.
    """
    check_quota()
    names = run_names(name, len(trials))
    if queue and not cluster_address():
        for settings in trials:
            check_memory(settings, waits=True)
    with runs_lock():
        if any(sweep.name == name for sweep in list_sweeps()):
            raise RunError(f"A sweep named {name!r} exists already: choose another --name, or --resume {name}.")
        if taken := next((run for run in names if (runs_dir() / run).exists()), None):
            raise RunError(f"A run named {taken!r} exists already: choose another --name for the sweep.")
        if queue:
            check_room()
        note: dict[str, Any] = {"name": name, "of": len(trials), "varied": list(varied)}
        made = []
        try:
            for number, (run, settings) in enumerate(zip(names, trials, strict=True), start=1):
                path = runs_dir() / run
                path.mkdir()
                made.append(path)
                command = shlex.join(["python", "-m", "cifar_model", "train", *settings.to_argv(), "--run", run])
                write_settings(path, settings, command, note | {"trial": number})
                enqueue(path, ["--resume", run]) if queue else wait_for_me(path)
        except BaseException:
            for path in made:
                shutil.rmtree(path, ignore_errors=True)
            raise
    return names


def start_sweep(name: str, trials: Sequence[Settings], varied: Iterable[str]) -> None:
    """Have the trials of a new sweep trained one after another by the queue; returns at once. As `make_runs`."""
    make_runs(name, trials, varied)
    start_waiting()


def unfinished(sweep: Sweep) -> list[RunInfo]:
    """The runs that a resumed sweep goes on with: those that ended unfinished, and not because they fell behind."""
    return [run for run in sweep.runs if run.can_resume and not run.status.get("why")]


def resume_sweep(name: str, *, queue: bool = True) -> list[str]:
    """Let the unfinished runs of a sweep wait again, in the queue or for this process; returns their names."""
    check_quota()
    with runs_lock():
        going_on = unfinished(read_sweep(name))
        if going_on and queue:
            check_room(name)
        for run in going_on:
            enqueue(run.path, ["--resume", run.name]) if queue else wait_for_me(run.path)
    start_waiting()
    return [run.name for run in going_on]


def stop_sweep(name: str) -> list[str]:
    """Stop all runs of a sweep that train or wait, those that wait first; returns their names."""
    stopped = []
    for run in sorted(read_sweep(name).runs, key=lambda run: run.state != "queued"):
        if run.is_live:
            with suppress(LabError):  # it has ended meanwhile
                request(run.name, "stop")
                stopped.append(run.name)
    return sorted(stopped)
