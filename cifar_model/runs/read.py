"""Training runs as they stand: listed, read, each judged by its files and its process.

A run is a directory RUNS/NAME that the training process alone writes, line by line; this module reads it and
leaves requests in its inbox. Nothing here needs TensorFlow, and no run needs whoever started it: it outlives
the app, the terminal and the browser.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import psutil

from cifar_model.errors import RunError, SettingsError
from cifar_model.models.history import read_history
from cifar_model.runs.names import NAME
from cifar_model.runs.records import last_record, read_lines, read_object, read_tail
from cifar_model.storage import runs_dir

if TYPE_CHECKING:
    import pandas as pd


TICKET = "queued.json"  # of a run that waits without a process; see `queue`
LIVE_STATES = ("queued", "starting", "running", "paused")


@dataclass(frozen=True)
class RunInfo:
    """One run as its directory showed it at one moment.

    `state` is what status.json says, except that a live state whose process is gone reads "interrupted", and
    a process that was just started and has not written yet reads "starting". `progress` is the newest
    progress record, {} before the first. `message` says why, for a person; it may be empty.
    """

    name: str
    path: Path
    state: str
    message: str
    created: float
    command: str
    settings: dict[str, Any]
    status: dict[str, Any]
    progress: dict[str, Any]

    @property
    def is_live(self) -> bool:
        """Whether a process works on it, or waits to."""
        return self.state in LIVE_STATES

    @property
    def can_resume(self) -> bool:
        """Whether `resume_run` may go on with it."""
        return self.state in ("interrupted", "stopped", "failed") and bool(self.settings)

    @property
    def has_model(self) -> bool:
        """Whether it can answer about pictures already."""
        return (self.path / "model.keras").is_file() and (self.path / "card.json").is_file()

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per finished epoch; no rows before the first."""
        return read_history(self.path)


@dataclass(frozen=True)
class Guesses:
    """What the network under training predicts of n fixed images: eight test images, or the ten sample photographs.

    `images` is uint8 (n, 32, 32, 3), `labels` int64 (n,), `probabilities` float (n, 10) in the order of
    CLASS_NAMES, or None before the first guess.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray | None
    epoch: int
    step: int


def max_runs() -> int:
    """How many runs may train at a time: CIFAR_LAB_MAX_RUNS, 1 by default."""
    text = os.environ.get("CIFAR_LAB_MAX_RUNS", "1")
    try:
        return max(1, int(text))
    except ValueError:
        raise SettingsError(f"CIFAR_LAB_MAX_RUNS is {text!r}: set it to a whole number from 1 up.") from None


def list_runs() -> list[RunInfo]:
    """All runs, newest first."""
    try:
        folders = [entry for entry in os.scandir(runs_dir()) if entry.is_dir() and entry.name[0] != "."]
    except FileNotFoundError:
        return []
    runs = []
    for entry in folders:
        try:
            runs.append(_read(Path(entry.path)))
        except FileNotFoundError:  # deleted between the listing and the look
            continue
    return sorted(runs, key=lambda run: run.created, reverse=True)


def read_run(name: str) -> RunInfo:
    """The run of this name as it stands now; RunError if there is none."""
    path = _find(name)
    try:
        return _read(path)
    except FileNotFoundError:
        raise _no_run(name) from None


def live_runs() -> list[RunInfo]:
    """The runs at work, first those that train, then those that wait, each in the order they were made."""
    live = [run for run in list_runs() if run.is_live]
    # One that was just launched may turn out to queue: it must not overtake those that wait.
    return sorted(
        live,
        key=lambda run: (run.state == "queued" or "launched" in run.status, run.status.get("queued", run.created)),
    )


def ahead_of(name: str) -> list[RunInfo]:
    """The live runs that a queued run waits for, in the order of their turns."""
    live = live_runs()
    names = [run.name for run in live]
    return live[: names.index(name)] if name in names else live


def read_progress(path: str | os.PathLike, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the progress records of a run directory that lie beyond `offset` bytes.

    Returns the records and the offset to go on from. Only whole lines are read, so a record is seen once it
    is complete; a file shorter than `offset` (the run began anew) is read from its start.
    """
    return read_lines(Path(path) / "progress.jsonl", offset)


def read_guesses(path: str | os.PathLike) -> Guesses | None:
    """The fixed images of a run directory with the newest guesses; None before they are written."""
    path = Path(path)
    try:
        with np.load(path / "guesses.npz", allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError):
        return None
    last = last_record(path / "guesses.jsonl")
    probabilities = np.asarray(last["probabilities"], "float32") if "probabilities" in last else None
    return Guesses(images, labels, probabilities, int(last.get("epoch", 0)), int(last.get("step", 0)))


def read_log(path: str | os.PathLike, lines: int = 12) -> str:
    """The last lines of what a run's process printed; empty if it printed nothing."""
    text = read_tail(Path(path) / "log.txt").decode("utf-8", "replace")
    # A progress bar rewrites its line with carriage returns: what counts is its last state.
    shown = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return "\n".join([line for line in shown if line][-lines:])


def _find(name: str) -> Path:
    """The directory of a run; a name that can't be one (../x) is simply not found."""
    path = runs_dir() / name if isinstance(name, str) and NAME.fullmatch(name) else None
    if path is None or not path.is_dir():
        raise _no_run(name)
    return path


def _no_run(name: str) -> RunError:
    names = [run.name for run in list_runs()]
    known = f"There are: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}." if names else "There are none yet."
    return RunError(f"There is no run named {str(name)[:80]!r}. {known}")


@contextmanager
def runs_lock() -> Iterator[None]:
    """One starter, renamer or deleter at a time on this machine."""
    folder = runs_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock", timeout=10):
            yield
    except filelock.Timeout:
        raise RunError(f"Another process is busy with {folder}: try again in a moment.") from None
    except OSError as error:
        raise RunError(f"The folder of runs {folder} can't be changed: {error}.") from error


def _read(path: Path) -> RunInfo:
    created = path.stat().st_ctime
    state, message, status = _judge(path)
    settings = read_object(path / "settings.json")
    return RunInfo(
        name=path.name,
        path=path,
        state=state,
        message=message,
        created=float(settings.get("created", created)),
        command=str(settings.get("command", "")),
        settings=settings.get("settings", {}),
        status=status,
        progress=last_record(path / "progress.jsonl"),
    )


def _judge(path: Path) -> tuple[str, str, dict[str, Any]]:
    """State, message and status of a run; what a dead process left is read after its death was seen."""
    if ticket := read_object(path / TICKET):
        return "queued", "", read_object(path / "status.json") | {"queued": float(ticket.get("time", 0.0))}
    status, alive = _status(path)
    if not alive:
        status, alive = _status(path)
    state = status.get("state", "starting")
    message = str(status.get("message") or "")
    if alive or (state not in LIVE_STATES):
        return state, message, status
    if not status or status.get("launched"):
        log = read_log(path)
        return "failed", f"It ended before the training began.\n{log}".strip(), {}
    return "interrupted", "Its process is gone. It can be continued after its last finished epoch.", status


def _status(path: Path) -> tuple[dict[str, Any], bool]:
    """status.json and whether its process lives; {"launched": true} while a fresh one has not written."""
    ticket = read_object(path / "launcher.json")
    status = read_object(path / "status.json")
    if ticket.get("time", 0.0) > status.get("updated", 0.0):
        if ticket["pid"] is None:  # between the two writes of the launcher
            alive = time.time() - ticket["time"] < 10
        else:
            alive = _is_alive(ticket["pid"], ticket["pid_started"])
        return {"launched": True}, alive
    if not status:  # started in a terminal, and about to write
        return status, time.time() - path.stat().st_mtime < 10
    return status, _is_alive(status.get("pid"), status.get("pid_started"))


def _is_alive(pid: int | None, started: float | None) -> bool:
    """Whether this very process runs: a number that another process has taken over since doesn't count."""
    if not pid:
        return False
    try:
        process = psutil.Process(pid)
        if started is not None and abs(process.create_time() - started) > 2:
            return False
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
