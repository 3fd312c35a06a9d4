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
from typing import Any

import filelock
import numpy as np
import psutil

from cifar_model.errors import LabError, RunError, SettingsError
from cifar_model.models.card import read_card
from cifar_model.models.history import Row, history_rows
from cifar_model.runs.names import MAX_NAME_LENGTH, NAME
from cifar_model.runs.records import last_record, read_lines, read_object, read_tail
from cifar_model.runs.remote import LAUNCHER, WAITS, is_heard, lost_message
from cifar_model.storage import runs_dir
from cifar_model.training.folder import ALIVE_FILE, this_host

TICKET = "queued.json"  # of a run that waits without a process; see `queue`
LIVE_STATES = ("queued", "starting", "running", "paused")
SETTLED_SECONDS = 2.0  # a file that was changed so lately may be changed again within one tick of the file system


@dataclass(frozen=True)
class RunInfo:
    """One run as its directory showed it at one moment.

    `state` is what status.json says, except that a live state whose process is gone reads "interrupted", and
    a process that was just started and has not written yet reads "starting". `progress` is the newest
    progress record, {} before the first. `message` says why, for a person; it may be empty. `sweep` is the note
    of a sweep's trial (see `sweeps`), {} of other runs. `remote`: it trains on a cluster, or waits for that; one that
    has lost its node there waits for another, so it reads "queued" too.
    """

    name: str
    path: Path
    state: str
    message: str
    created: float
    command: str
    settings: dict[str, Any]
    sweep: dict[str, Any]
    status: dict[str, Any]
    progress: dict[str, Any]
    remote: bool = False

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
    def history(self) -> tuple[Row, ...]:
        """One row per finished epoch, as `history_rows`; none before the first."""
        return history_rows(self.path)

    @cached_property
    def test_accuracy(self) -> float | None:
        """Share of right answers on the test images, 0–1; None as long as it was not measured."""
        try:
            return read_card(self.path).scores.test_accuracy
        except LabError:
            return None

    def column(self, name: str) -> list[float]:
        """One column of `history`, without what is no number."""
        return [row[name] for row in self.history if row[name] == row[name]]


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
    return whole_number("CIFAR_LAB_MAX_RUNS", default=1, least=1)


def whole_number(variable: str, *, default: int, least: int) -> int:
    """What an environment variable says, `least` where that is less; SettingsError where it is no whole number."""
    text = os.environ.get(variable, str(default))
    try:
        return max(least, int(text))
    except ValueError:
        raise SettingsError(f"{variable} is {text!r}: set it to a whole number from {least} up.") from None


_at_rest: dict[
    Path, tuple[tuple[int, ...], RunInfo]
] = {}  # by folder: runs that are over, as they were at these file times


def list_runs() -> list[RunInfo]:
    """All runs, newest first. One that is over is read again only when something in its folder has changed."""
    try:
        folders = [Path(entry.path) for entry in os.scandir(runs_dir()) if entry.is_dir() and entry.name[0] != "."]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(_unusable(error)) from None
    runs = []
    for path in folders:
        try:
            runs.append(_look(path))
        except FileNotFoundError:  # deleted between the listing and the look
            continue
    if len(_at_rest) > 2 * len(runs) + 100:  # those that were deleted, and of other folders
        for path in _at_rest.keys() - set(folders):
            _at_rest.pop(path, None)
    return sorted(runs, key=lambda run: run.created, reverse=True)


def _look(path: Path) -> RunInfo:
    """As `_read`, from what is kept where that still holds."""
    times = _file_times(path)
    kept = _at_rest.get(path)
    if kept and kept[0] == times:
        return kept[1]
    run = _read(path)
    # Every file that says something of a run at rest comes in by renaming, which changes the folder's time.
    at_rest = not run.is_live or "queued" in run.status  # of one that waits without a process, too
    if at_rest and time.time() - max(times[1:]) / 1e9 > SETTLED_SECONDS:
        _at_rest[path] = times, run
    return run


def _file_times(path: Path) -> tuple[int, ...]:
    folder = path.stat()
    times = [folder.st_ino, folder.st_mtime_ns]
    for name in ("status.json", LAUNCHER, ALIVE_FILE):  # the last two tell that another host is heard of again
        try:
            times.append(os.stat(path / name).st_mtime_ns)
        except FileNotFoundError:
            times.append(0)
    return tuple(times)


def read_run(name: str) -> RunInfo:
    """The run of this name as it stands now; RunError if there is none."""
    path = _find(name)
    try:
        return _read(path)
    except FileNotFoundError:
        raise _no_run(name) from None


def live_runs(found: list[RunInfo] | None = None) -> list[RunInfo]:
    """The runs at work, first those that train, then those that wait, each in the order they were made.

    `found`: all runs, where the caller has just listed them.
    """
    live = [run for run in (list_runs() if found is None else found) if run.is_live]
    # One that was just launched may turn out to queue: it must not overtake those that wait.
    return sorted(
        live,
        key=lambda run: (
            run.state == "queued" or "launched" in run.status,
            run.state == "queued" and bool(run.sweep),  # a sweep has time: the single runs of others go first
            run.status.get("queued", run.created),
        ),
    )


def live_here(found: list[RunInfo] | None = None) -> list[RunInfo]:
    """The `live_runs` that take a place of this machine or wait for one, not of a cluster or by a sweep's process."""
    return [run for run in live_runs(found) if not run.remote and "by_another" not in run.status]


def ahead_of_new(found: list[RunInfo] | None = None) -> list[RunInfo]:
    """The runs that a single run would wait for if it were started here now; `found` as in `live_runs`."""
    live = live_here(found)
    return [run for run in live if run.state != "queued" or not run.sweep] or live


def ahead_of(name: str, found: list[RunInfo] | None = None) -> list[RunInfo]:
    """The live runs that a queued run waits for, in the order of their turns; `found` as in `live_runs`."""
    live = live_here(found)
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
    known = isinstance(name, str) and len(name) <= MAX_NAME_LENGTH and NAME.fullmatch(name)
    path = runs_dir() / name if known else None
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
        raise RunError(_unusable(error)) from error


def _unusable(error: OSError) -> str:
    return (
        f"The folder of runs {runs_dir()} can't be used: {error.strerror or error}. "
        "Set CIFAR_LAB_RUNS to one that can be written to."
    )


def _read(path: Path) -> RunInfo:
    created = path.stat().st_ctime
    state, message, status, remote = _judge(path)
    settings = read_object(path / "settings.json")
    return RunInfo(
        name=path.name,
        path=path,
        state=state,
        message=message,
        created=float(settings.get("created", created)),
        command=str(settings.get("command", "")),
        settings=settings.get("settings", {}),
        sweep=_note(settings.get("sweep")),
        status=status,
        progress=last_record(path / "progress.jsonl"),
        remote=remote,
    )


def _note(sweep: Any) -> dict[str, Any]:
    is_note = isinstance(sweep, dict) and isinstance(sweep.get("name"), str) and isinstance(sweep.get("trial"), int)
    return sweep if is_note else {}


def _judge(path: Path) -> tuple[str, str, dict[str, Any], bool]:
    """State, message and status of a run, and whether it is of a cluster."""
    if ticket := read_object(path / TICKET):
        status = read_object(path / "status.json") | {"queued": float(ticket.get("time", 0.0))}
        status.pop("by_another", None)  # as it waited before
        if "sent" not in ticket:
            return "queued", "", status, False
        return "queued", WAITS, status | {"sent": ticket["sent"]}, True
    launcher = read_object(path / LAUNCHER)
    if "node" in launcher:
        return *_judge_remote(path, launcher), True
    return *_judge_here(path), launcher.get("on_cluster") is True  # of a sweep, whose process minds it


def _judge_remote(path: Path, launcher: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    heard = is_heard(path)  # before its last words are read: none is missed
    status = read_object(path / "status.json")
    state = status.get("state", "starting")
    if heard or state not in LIVE_STATES:
        return state, str(status.get("message") or ""), status
    return "queued", lost_message(launcher), status | {"queued": float(launcher.get("time", 0.0))}


def _judge_here(path: Path) -> tuple[str, str, dict[str, Any]]:
    """By its process; what a dead one left is read after its death was seen."""
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
    ticket = read_object(path / LAUNCHER)
    status = read_object(path / "status.json")
    if ticket.get("time", 0.0) > status.get("updated", 0.0):
        if ticket["pid"] is None:  # between the two writes of the launcher
            alive = time.time() - ticket["time"] < 10
        else:
            alive = _is_alive(path, ticket)
        return {"launched": True}, alive
    if not status:  # started in a terminal, and about to write
        return status, time.time() - path.stat().st_mtime < 10
    return status, _is_alive(path, status)


def _is_alive(path: Path, told: dict[str, Any]) -> bool:
    """Whether a process runs, here or elsewhere."""
    if told.get("host", this_host()) != this_host():  # a replica of the app in another container, or elsewhere
        return is_heard(path)
    try:
        return process_of(told).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def process_of(told: dict[str, Any]) -> psutil.Process:
    """The very process of this machine that a status or a ticket names.

    Raises psutil.NoSuchProcess where it is gone, or another process has taken over its number; psutil.AccessDenied.
    """
    pid, started = told.get("pid"), told.get("pid_started")
    if not pid:
        raise psutil.NoSuchProcess(0)
    process = psutil.Process(pid)
    if started is not None and abs(process.create_time() - started) > 2:
        raise psutil.NoSuchProcess(pid)
    return process
