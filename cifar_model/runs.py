"""Training runs as processes: start, list, follow, pause, stop, resume, rename and delete them.

A run is a directory RUNS/NAME that the training process alone writes, line by line; this module reads it and
leaves requests in its inbox. Nothing here needs TensorFlow, and no run needs whoever started it: it outlives
the app, the terminal and the browser.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dataset import MINI, mini_counts
from .errors import RunError, SettingsError
from .models import read_history, runs_dir, write_json

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from .recipes import Settings

LIVE_STATES = ("queued", "starting", "running", "paused")
ACTIONS = ("pause", "resume", "stop", "set-lr")
MAX_NAME_LENGTH = 60

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
# Names that Windows keeps for devices, with any extension.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_TAIL_BYTES = 65_536


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
    """What the network under training thinks of eight fixed test pictures.

    `images` is uint8 (8, 32, 32, 3), `labels` int64 (8,), `probabilities` float (8, 10) in the order of
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


def check_name(name: str) -> str:
    """Return the name of a run if it is safe as a folder's name everywhere; raise SettingsError if not."""
    if not isinstance(name, str) or not name.strip():
        raise SettingsError("The run has no name: give it one of letters, digits, '.', '_' and '-'.")
    shown = name if len(name) <= 80 else name[:77] + "..."
    if len(name) > MAX_NAME_LENGTH:
        raise SettingsError(
            f"The run's name has {len(name)} characters ({shown!r}): at most {MAX_NAME_LENGTH} are allowed."
        )
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"The run's name is {shown!r}: use letters, digits, '.', '_' and '-', beginning with a letter "
            "or a digit and not ending with a dot."
        )
    if _RESERVED.fullmatch(name) or name.lower() in ("lab-net", "seed-cnn"):
        raise SettingsError(f"The name {name!r} is reserved: choose another, for example {name}-1.")
    return name


def new_name(settings: Settings) -> str:
    """The first free name like "lab-net-quick-1" for a run with these settings."""
    stem = f"{settings.network}-{settings.recipe}"
    number = 1
    while (runs_dir() / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


# Reading


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
    return sorted(live, key=lambda run: (run.state == "queued" or "launched" in run.status, run.created))


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
    return _read_lines(Path(path) / "progress.jsonl", offset)


def read_guesses(path: str | os.PathLike) -> Guesses | None:
    """The eight fixed pictures of a run directory with the newest guesses; None before they are written."""
    import numpy as np

    path = Path(path)
    try:
        with np.load(path / "guesses.npz", allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError):
        return None
    last = _last_record(path / "guesses.jsonl")
    probabilities = np.asarray(last["probabilities"], "float32") if "probabilities" in last else None
    return Guesses(images, labels, probabilities, int(last.get("epoch", 0)), int(last.get("step", 0)))


def read_log(path: str | os.PathLike, lines: int = 12) -> str:
    """The last lines of what a run's process printed; empty if it printed nothing."""
    text = _tail(Path(path) / "log.txt").decode("utf-8", "replace")
    # A progress bar rewrites its line with carriage returns: what counts is its last state.
    shown = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return "\n".join([line for line in shown if line][-lines:])


def follow(name: str, *, poll: float = 0.2) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("progress", record), ("epoch", history row) and ("state", status) as a run goes, until it ends.

    Starts with the run's present state and newest record; the last item is the state that it ended in.
    """
    import csv

    run = read_run(name)
    # From the newest whole record on: what came before is in the history.
    records, offset = read_progress(run.path)
    for record in records[-1:]:
        yield "progress", record
    rows_seen, state = 0, None
    while True:
        run = read_run(name)  # its liveness is judged before the files below are read: nothing is missed
        records, offset = read_progress(run.path, offset)
        for record in records:
            yield "progress", record
        text, _ = _whole_text(run.path / "history.csv", 0)
        rows = list(csv.DictReader(text.splitlines()))
        for row in rows[rows_seen:]:
            yield "epoch", {key: float(value) if value else math.nan for key, value in row.items()}
        rows_seen = len(rows)
        if run.state != state:
            state = run.state
            yield "state", {**run.status, "state": run.state, "message": run.message}
        if not run.is_live:
            return
        time.sleep(poll)


@dataclass(frozen=True)
class Estimate:
    """How long a run may take: `seconds`, and whether that was measured on a run of this kind here."""

    seconds: float
    measured: bool


def estimate_time(settings: Settings) -> Estimate:
    """Guess how long these settings take to train on this machine, from the newest run of the same network.

    Without one, from the network's multiply-adds; that may be wrong by a factor of two or three.
    """
    from .architectures import multiply_adds

    same = ("network", "precision", *(("filters", "dense") if settings.network == "custom" else ()))
    wanted = {key: settings.to_dict()[key] for key in same}
    speed = None
    for run in list_runs():
        if all(run.settings.get(key) == value for key, value in wanted.items()) and len(run.history):
            speed = float(run.history["images_per_second"].median())
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


# Starting


def start_run(settings: Settings, name: str | None = None, *, queue: bool = False) -> str:
    """Start `cifar_model train` in a process of its own and return the run's name at once.

    Raises RunError when the name is taken, or when as many runs train as are allowed and `queue` is false;
    two calls at the same moment can't both win. With `queue` the new run waits for its turn.
    """
    with _lock():
        name = check_name(name) if name else new_name(settings)
        path = runs_dir() / name
        check_capacity(queue)
        try:
            path.mkdir()
        except FileExistsError:
            raise RunError(f"A run named {name!r} exists already: choose another name.") from None
        arguments = [*settings.to_argv(), "--run", name]
        _launch(path, [*arguments, "--queue"] if queue else arguments)
    return name


def resume_run(name: str, *, queue: bool = False) -> None:
    """Go on with a run that was stopped, failed or interrupted; returns at once. RunError if it can't."""
    with _lock():
        run = read_run(name)
        if not run.can_resume:
            raise RunError(f"The run {name!r} is {run.state}: only a stopped or interrupted run can go on.")
        check_capacity(queue)
        _launch(run.path, ["--resume", name, *(["--queue"] if queue else [])])


def check_capacity(queue: bool = False, *, apart_from: str = "") -> None:
    """Raise RunError when as many runs train as may, unless `queue`; the run `apart_from` doesn't count."""
    live = [run for run in live_runs() if run.name != apart_from]
    if len(live) >= max_runs() and not queue:
        names = ", ".join(f"{run.name} ({run.state})" for run in live)
        raise RunError(
            f"{names} {'is' if len(live) == 1 else 'are'} ahead, and {max_runs()} may train at a time: "
            "wait, stop it, or queue behind it."
        )


def _launch(path: Path, arguments: list[str]) -> None:
    """Start the training command detached, its output into log.txt, at low priority."""
    import psutil

    root = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, inherited]) if inherited else root,
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    if os.name == "nt":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        detached: dict[str, Any] = {"creationflags": flags | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    else:
        detached = {"start_new_session": True}
    ticket = {"time": time.time(), "pid": None, "pid_started": None}
    write_json(path / "launcher.json", ticket)
    with open(path / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cifar_model", "train", *arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, **detached,
        )  # fmt: skip
    try:
        child = psutil.Process(process.pid)
        ticket.update(pid=process.pid, pid_started=child.create_time())
        if os.name != "nt":
            child.nice(max(10, child.nice()))
        # Linux weighs sessions, not processes, against each other: the new session too must step back.
        autogroup = Path(f"/proc/{process.pid}/autogroup")
        if autogroup.exists():
            autogroup.write_text("10")
    except (psutil.Error, OSError):  # it died at once: the log says why
        ticket.update(pid=process.pid)
    write_json(path / "launcher.json", ticket)
    # Reaped when it ends, so that no zombie is left behind in a long-lived app.
    threading.Thread(target=process.wait, daemon=True).start()


# Control


def request(name: str, action: str, value: float | None = None, *, wait: float = 0.0) -> bool:
    """Ask a live run to "pause", "resume", "stop" or "set-lr" (with the new rate as `value`).

    Returns whether the run took the request within `wait` seconds. Raises RunError if the run isn't live, and
    SettingsError for an unknown action or a rate that isn't a positive number.
    """
    if action not in ACTIONS:
        raise SettingsError(f"Unknown action {action!r}: use one of {', '.join(ACTIONS)}.")
    message: dict[str, Any] = {"action": action}
    if action == "set-lr":
        message["value"] = _check_rate(value)
    run = read_run(name)
    if not run.is_live:
        hint = " It can be resumed." if run.can_resume else ""
        raise RunError(f"The run {name!r} is {run.state}: only a live run can be asked to {action}.{hint}")
    inbox = run.path / "requests"
    inbox.mkdir(exist_ok=True)
    letter = inbox / f"{time.time_ns()}-{action}.json"
    write_json(letter, message)
    deadline = time.monotonic() + wait
    while letter.exists():
        if time.monotonic() >= deadline or not read_run(name).is_live:
            return not letter.exists()
        time.sleep(0.05)
    return True


def _check_rate(value: float | None) -> float:
    from .recipes import LIMITS

    low, high = LIMITS["learning_rate"]
    try:
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        rate = math.nan
    if not low <= rate <= high:
        raise SettingsError(f"The learning rate is {value!r}: give a number from {low:g} to {high:g}.")
    return rate


def rename(name: str, new: str) -> None:
    """Give a run that isn't live another name; RunError if it is live or the name is taken."""
    with _lock():
        run = _at_rest(name, "renamed")
        target = runs_dir() / check_name(new)
        if target.exists() and target.resolve() != run.path.resolve():
            raise RunError(f"A run named {new!r} exists already: choose another name.")
        _patiently(os.rename, run.path, target)
        for file in ("settings.json", "card.json"):
            if content := _read_json(target / file):
                write_json(target / file, {**content, "name": new})


def delete(name: str) -> None:
    """Delete a run that isn't live, with its models, for good; RunError if it is live."""
    with _lock():
        run = _at_rest(name, "deleted")
        # Out of the list first, in one step: nobody sees half a run.
        trash = run.path.with_name(f".deleted-{time.time_ns()}")
        _patiently(os.rename, run.path, trash)
    shutil.rmtree(trash, ignore_errors=True)


def _at_rest(name: str, verb: str) -> RunInfo:
    run = read_run(name)
    if run.is_live:
        raise RunError(f"The run {name!r} is {run.state}: stop it first, then it can be {verb}.")
    return run


# The parts


def _find(name: str) -> Path:
    """The directory of a run; a name that can't be one (../x) is simply not found."""
    path = runs_dir() / name if isinstance(name, str) and _NAME.fullmatch(name) else None
    if path is None or not path.is_dir():
        raise _no_run(name)
    return path


def _no_run(name: str) -> RunError:
    names = [run.name for run in list_runs()]
    known = f"There are: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}." if names else "There are none yet."
    return RunError(f"There is no run named {str(name)[:80]!r}. {known}")


@contextmanager
def _lock() -> Iterator[None]:
    """One starter, renamer or deleter at a time on this machine."""
    import filelock

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
    settings = _read_json(path / "settings.json")
    return RunInfo(
        name=path.name,
        path=path,
        state=state,
        message=message,
        created=float(settings.get("created", created)),
        command=str(settings.get("command", "")),
        settings=settings.get("settings", {}),
        status=status,
        progress=_last_record(path / "progress.jsonl"),
    )


def _judge(path: Path) -> tuple[str, str, dict[str, Any]]:
    """State, message and status of a run; what a dead process left is read after its death was seen."""
    status, alive = _status(path)
    if not alive:
        status, alive = _status(path)
    state = status.get("state", "starting")
    message = str(status.get("message") or "")
    if alive or (state not in LIVE_STATES):
        return state, message, status
    if not status or status.get("launched"):
        log = read_log(path)
        return "failed", f"It ended before it began.\n{log}".strip(), {}
    return "interrupted", "Its process is gone; it can go on from its last finished epoch.", status


def _status(path: Path) -> tuple[dict[str, Any], bool]:
    """status.json and whether its process lives; {"launched": true} while a fresh one has not written."""
    ticket = _read_json(path / "launcher.json")
    status = _read_json(path / "status.json")
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
    import psutil

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


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} if there is none or it is not an object."""
    try:
        content = json.loads(_patiently(path.read_bytes))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _patiently(action, *arguments):
    """Try again for a second: on Windows a file that another process holds open can't be read or moved."""
    for _ in range(20 if os.name == "nt" else 0):
        try:
            return action(*arguments)
        except PermissionError:
            time.sleep(0.05)
    return action(*arguments)


def _whole_text(path: Path, offset: int) -> tuple[str, int]:
    """The whole lines of a file beyond an offset, and where they end."""
    try:
        with open(path, "rb") as file:
            if offset > file.seek(0, os.SEEK_END):
                offset = 0
            file.seek(offset)
            data = file.read()
    except OSError:
        return "", offset
    end = data.rfind(b"\n") + 1
    return data[:end].decode("utf-8", "replace"), offset + end


def _read_lines(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    text, offset = _whole_text(path, offset)
    return [record for record in map(_parse, text.splitlines()) if record], offset


def _parse(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # a line cut by a crash, later completed by another
        return {}
    return record if isinstance(record, dict) else {}


def _last_record(path: Path) -> dict[str, Any]:
    """The newest whole record of a .jsonl file, read from its end; {} if there is none."""
    data = _tail(path)
    lines = data[: data.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()
    return next(filter(None, map(_parse, reversed(lines))), {})


def _tail(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read()
    except OSError:
        return b""
