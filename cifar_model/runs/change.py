"""Ask a run under way for something; rename and delete one at rest."""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

from cifar_model.errors import RunError, SettingsError
from cifar_model.runs.names import check_name
from cifar_model.runs.queue import is_waiting, withdraw
from cifar_model.runs.read import RunInfo, read_run, runs_lock
from cifar_model.runs.records import patiently, read_object
from cifar_model.storage import runs_dir, write_json
from cifar_model.training.settings import LIMITS

ACTIONS = ("pause", "resume", "stop", "set-lr")


def request(name: str, action: str, value: float | None = None, *, wait: float = 0.0) -> bool:
    """Ask a live run to "pause", "resume", "stop" or "set-lr" (with the new rate as `value`).

    Returns whether the run took the request within `wait` seconds. Raises RunError if the run isn't live, and
    SettingsError for an unknown action or a rate that isn't a positive number.
    """
    if action not in ACTIONS:
        raise SettingsError(f"Unknown action {action!r}: use one of {', '.join(ACTIONS)}.")
    details = {"value": _check_rate(value)} if action == "set-lr" else {}
    run = read_run(name)
    if is_waiting(run):
        return _ask_waiting(name, action)
    if not run.is_live:
        hint = " It can be continued (--resume)." if run.can_resume else ""
        raise RunError(f"The run {name!r} is {run.state}: only a run that is training can be asked to {action}.{hint}")
    if action == "pause" and run.state == "queued":
        raise RunError(f"The run {name!r} waits for its turn, so there is nothing to pause. It can be stopped.")
    letter = leave_letter(run.path, action, **details)
    if action == "stop" and run.remote and run.state == "queued":
        # Its node is lost: whoever would go on with it sees that it has ended, and the letter is for a node that lives.
        with runs_lock():
            withdraw(run, message="Stopped while it waited for another node.")
        return True
    deadline = time.monotonic() + wait
    while letter.exists():
        if time.monotonic() >= deadline or not read_run(name).is_live:
            return not letter.exists()
        time.sleep(0.05)
    return True


def leave_letter(run: Path, action: str, **details: Any) -> Path:
    """Put a request into the inbox of a run's directory, whoever works on it; a stop may say `why`, in a sentence."""
    inbox = run / "requests"
    inbox.mkdir(exist_ok=True)
    letter = inbox / f"{time.time_ns()}-{action}.json"
    write_json(letter, {"action": action, **details})
    return letter


def _ask_waiting(name: str, action: str) -> bool:
    """A run without a process can be taken out of the queue, and nothing else."""
    with runs_lock():
        run = read_run(name)
        if is_waiting(run):
            if action != "stop":
                raise RunError(f"The run {name!r} waits for its turn: it can be stopped, and nothing else yet.")
            withdraw(run)
            return True
    raise RunError(f"The run {name!r} has just been started: try again in a moment.")


def _check_rate(value: float | None) -> float:
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
    with runs_lock():
        run = _at_rest(name, "renamed")
        target = runs_dir() / check_name(new)
        if target.exists() and target.resolve() != run.path.resolve():
            raise RunError(f"A run named {new!r} exists already: choose another name.")
        patiently(os.rename, run.path, target)
        for file in ("settings.json", "card.json"):
            if content := read_object(target / file):
                write_json(target / file, {**content, "name": new})


def delete(name: str) -> None:
    """Delete a run that isn't live, with its models, for good; RunError if it is live."""
    with runs_lock():
        run = _at_rest(name, "deleted")
        # Out of the list first, in one step: nobody sees half a run.
        trash = run.path.with_name(f".deleted-{time.time_ns()}")
        patiently(os.rename, run.path, trash)
    shutil.rmtree(trash, ignore_errors=True)


def _at_rest(name: str, verb: str) -> RunInfo:
    run = read_run(name)
    if run.is_live:
        raise RunError(f"The run {name!r} is {run.state}: stop it first, then it can be {verb}.")
    return run
