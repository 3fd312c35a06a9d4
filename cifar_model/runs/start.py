"""Start and resume runs, each in a process of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from cifar_model.data.sources import MINI
from cifar_model.errors import LabError, RunError, SettingsError
from cifar_model.networks.backend import check_backend
from cifar_model.runs.change import request
from cifar_model.runs.disk import check_quota
from cifar_model.runs.hold import end_hold, is_held
from cifar_model.runs.memory import check_memory
from cifar_model.runs.names import check_name, new_name
from cifar_model.runs.owners import write_owner
from cifar_model.runs.queue import check_room, enqueue, is_waiting, take_ticket
from cifar_model.runs.read import RunInfo, ahead_of_new, list_runs, live_here, max_runs, read_run, runs_lock
from cifar_model.runs.records import read_object
from cifar_model.runs.remote import cluster_address, due, is_sending
from cifar_model.storage import assets_dir, runs_dir, write_json
from cifar_model.text import listed
from cifar_model.training.folder import at_work, this_host, write_settings
from cifar_model.training.settings import LIMITS

if TYPE_CHECKING:
    from cifar_model.training.settings import Settings

LAUNCHED = "CIFAR_LAB_LAUNCHED"  # environment of a training that was started from here: the name of its run


def start_run(settings: Settings, name: str | None = None, *, queue: bool = False, owner: str | None = None) -> str:
    """Start `cifar_model train` in a process of its own and return the run's name at once.

    Raises RunError when the name is taken, or when as many runs train as are allowed and `queue` is false;
    two calls at the same moment can't both win. With `queue` the new run waits for its turn, as a folder with its
    settings; RunError when as many wait as may. `owner` is the fingerprint of the visitor whose it is
    (`owners.fingerprint`). With a cluster (CIFAR_LAB_RAY) every run waits, for a place there.
    """
    check_backend()
    check_quota()
    with runs_lock():
        name = check_name(name) if name else new_name(settings)
        path = runs_dir() / name
        waits = _has_to_wait(queue)
        if not cluster_address():
            check_memory(settings, waits=waits)
        try:
            path.mkdir()
        except FileExistsError:
            raise RunError(f"A run named {name!r} exists already: choose another name.") from None
        if owner:
            write_owner(path, owner)
        arguments = [*settings.to_argv(), "--run", name]
        if waits:
            write_settings(path, settings, shlex.join(["python", "-m", "cifar_model", "train", *arguments]))
            enqueue(path, ["--resume", name])
        else:
            _launch(path, arguments)
    if cluster_address():
        _send()
    return name


def resume_run(
    name: str, *, epochs: int | None = None, learning_rate: float | None = None, queue: bool = False
) -> None:
    """Go on with a run that was stopped, failed or interrupted; returns at once. RunError if it can't.

    With `epochs`, more than it has trained so far, a finished run too goes on until it has had so many.
    `learning_rate` is another one for the rest of the run.
    """
    check_backend()
    check_quota()
    with runs_lock():
        run = read_run(name)
        if run.is_live or not run.settings:
            raise RunError(f"The run {name!r} is {run.state}: only a run that has ended can be continued.")
        check_resumable(run, epochs)
        waits = _has_to_wait(queue)
        arguments = ["--resume", name, *([] if epochs is None else ["--epochs", str(epochs)])]
        arguments += [] if learning_rate is None else ["--learning-rate", f"{learning_rate:g}"]
        if waits:
            enqueue(run.path, arguments)
        else:
            _launch(run.path, arguments)
    if cluster_address():
        _send()


def start_waiting() -> list[str]:
    """Start the runs whose turn has come, and return their names.

    Whoever ends a training calls this, and the app every few seconds: no process waits for it. To a cluster all that
    wait are sent, and have their turn when it has a place for them.
    """
    started: list[str] = []
    found = list_runs()
    if not any(run.state == "queued" for run in found):
        return started
    if cluster_address():
        if due(found) and not is_held() and not is_sending():
            _send()
        return started
    with runs_lock():
        while not is_held():
            live = live_here()
            first = next((run for run in live if run.state == "queued"), None)
            if first is None or sum(run.state != "queued" for run in live) >= max_runs() or not is_waiting(first):
                break  # the last: one that waits in a terminal's own process starts by itself
            # Should another have been quicker after all, it waits in its process.
            _launch(first.path, [*take_ticket(first), "--queue"])
            started.append(first.name)
    return started


def release_all() -> list[str]:
    """End a pause for all (`hold.hold_all`): the runs that it paused go on; returns their names.

    One that was paused for so long that it gave up its place goes on in its turn.
    """
    going_on = []
    for name in end_hold():
        with suppress(LabError):  # ended or deleted meanwhile
            if read_run(name).is_live:
                request(name, "resume")
            else:
                resume_run(name, queue=True)
            going_on.append(name)
    start_waiting()
    return going_on


def _has_to_wait(queue: bool) -> bool:
    """Whether a new run has to wait; RunError where it has to and isn't to (`queue`), or too many wait already."""
    if cluster_address():
        _check_hold(queue)
    elif is_held() or len(live_here()) >= max_runs():
        check_capacity(queue)
    else:
        return False
    check_room()
    return True


def check_resumable(run: RunInfo, epochs: int | None = None) -> None:
    """Raise RunError where a run is finished, SettingsError where it has trained `epochs` or more already."""
    done = int(run.status.get("epoch", 0))
    if run.state == "finished" and epochs is None:
        raise RunError(
            f"The run {run.name!r} is finished: there is nothing to resume. Train it further with "
            f"--resume {run.name} --epochs {2 * max(1, done)}, or start a new run from its weights with "
            f"--start-from {run.name}."
        )
    if epochs is not None and epochs <= done:
        raise SettingsError(f"The run {run.name!r} has trained for {done} epochs already: give more than that.")


def commands_to_go_on(name: str, settings: dict[str, Any]) -> list[str]:
    """How a finished run of these settings is trained further: with more epochs, or as a new run from its weights."""
    epochs, highest = int(settings.get("epochs", 1)), LIMITS["epochs"][1]
    more = [] if epochs >= highest else [f"--resume {name} --epochs {min(2 * epochs, highest)}"]
    anew = f"--start-from {name} --network {settings.get('network')}"
    anew += f" --data {MINI}" if settings.get("data") == MINI else ""
    return [f"python -m cifar_model train {options}" for options in (*more, anew)]


def claim(name: str, *, queue: bool = False) -> float:
    """Count this process among those at work on runs, before it has written anything; returns when it was begun.

    Of several that are started at once as many may go on as `max_runs` allows: RunError to the others, and where
    another process is at work on this run. A process that `start_run` or `resume_run` launched was counted by them.
    """
    path = runs_dir() / name
    if os.environ.get(LAUNCHED) == name:
        return float(read_object(path / "launcher.json").get("time", time.time()))
    with runs_lock():
        if path.is_dir() and read_run(name).is_live:
            raise RunError(at_work(name))
        check_capacity(queue, apart_from=name)
        path.mkdir(exist_ok=True)
        me = psutil.Process()
        ticket = {"time": time.time(), "pid": me.pid, "pid_started": me.create_time(), "host": this_host()}
        write_json(path / "launcher.json", ticket)
        return ticket["time"]


def check_capacity(queue: bool = False, *, apart_from: str = "") -> None:
    """Raise RunError when as many runs train as may, unless `queue`; the run `apart_from` doesn't count."""
    _check_hold(queue)
    live = [run for run in live_here() if run.name != apart_from]
    if len(live) >= max_runs() and not queue:
        names = [f"{run.name} ({run.state})" for run in ahead_of_new() if run.name != apart_from]
        raise RunError(
            f"{listed(names)} {'is' if len(names) == 1 else 'are'} ahead, and {max_runs()} may train at a time: "
            "wait, stop it, or queue (--queue)."
        )


def _check_hold(queue: bool) -> None:
    if is_held() and not queue:
        raise RunError("All training is paused here (`python -m cifar_model runs release` ends that): wait, or queue.")


def _environment() -> dict[str, str]:
    """Of a process that finds this project wherever it is started."""
    root, inherited = str(assets_dir().parent), os.environ.get("PYTHONPATH")
    path = os.pathsep.join([root, inherited]) if inherited else root
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def _send() -> None:
    """Start the process that hands over to the cluster what waits for it; what it prints is in RUNS/.cluster.log."""
    with open(runs_dir() / ".cluster.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cifar_model.cluster.trainings"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_environment(), start_new_session=True,
        )  # fmt: skip
    _reap(process)


def _reap(process: subprocess.Popen) -> None:
    """When it ends, so that no zombie is left behind in a long-lived app."""
    threading.Thread(target=process.wait, daemon=True).start()


def _launch(path: Path, arguments: list[str]) -> None:
    """Start the training command detached, its output into log.txt, at low priority."""
    environment = {**_environment(), LAUNCHED: path.name}
    if os.name == "nt":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        detached: dict[str, Any] = {"creationflags": flags | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    else:
        detached = {"start_new_session": True}
    ticket = {"time": time.time(), "pid": None, "pid_started": None, "host": this_host()}
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
        idle = hasattr(os, "SCHED_IDLE")
        if idle:  # Linux: only what nobody else wants, or others' clicks wait for its time slices
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        # Linux weighs sessions, not processes, against each other: the new session too must step back.
        autogroup = Path(f"/proc/{process.pid}/autogroup")
        if autogroup.exists():
            autogroup.write_text("19" if idle else "10")
    except (psutil.Error, OSError):  # it died at once: the log says why
        ticket.update(pid=process.pid)
    write_json(path / "launcher.json", ticket)
    _reap(process)
