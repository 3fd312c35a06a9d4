"""Runs that wait: a folder with settings and a ticket, no process, until a place is free."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil

from cifar_model.errors import RunError
from cifar_model.runs.read import TICKET, RunInfo, list_runs, whole_number
from cifar_model.runs.records import read_object
from cifar_model.runs.remote import cluster_address
from cifar_model.storage import write_json
from cifar_model.training.folder import this_host


def max_queue() -> int:
    """How many runs may wait at a time: CIFAR_LAB_MAX_QUEUE, 10 by default, for a cluster 100."""
    return whole_number("CIFAR_LAB_MAX_QUEUE", default=100 if cluster_address() else 10, least=0)


def check_room(sweep: str = "") -> None:
    """RunError when as many runs wait as may, each sweep counted as one; the caller holds the runs' lock.

    `sweep` is one that needs no place beside that which it has.
    """
    waiting = len({run.sweep.get("name", run.path) for run in list_runs() if run.state == "queued"} - {sweep})
    if waiting >= max_queue():
        raise RunError(
            f"{waiting} runs wait already, and {max_queue()} may (CIFAR_LAB_MAX_QUEUE): try again when one has begun."
        )


def enqueue(path: Path, arguments: list[str]) -> None:
    """Let a run wait; `arguments` of the command `train` start it. The caller holds the runs' lock.

    With a cluster it waits there: not for its turn on this machine.
    """
    ticket: dict[str, Any] = {"time": time.time(), "arguments": arguments}
    write_json(path / TICKET, ticket | ({"sent": False} if cluster_address() else {}))


def is_waiting(run: RunInfo) -> bool:
    """Whether a run waits without a process; one that was queued in a terminal waits in its own."""
    return (run.path / TICKET).exists()


def wait_for_me(path: Path) -> None:
    """Let a run wait while this process lives, which is to have it started; the caller holds the runs' lock."""
    me = psutil.Process()
    status: dict[str, Any] = read_object(path / "status.json")
    message = "It waits for a place in its sweep and starts on its own."
    status |= {"state": "queued", "message": message, "by_another": True}
    status |= {"pid": me.pid, "pid_started": me.create_time(), "host": this_host()}
    write_json(path / "status.json", status | {"updated": time.time()})


def take_ticket(run: RunInfo) -> list[str]:
    """End the waiting of a run and return its arguments; the caller holds the runs' lock."""
    arguments = read_object(run.path / TICKET).get("arguments", [])
    (run.path / TICKET).unlink(missing_ok=True)
    return [str(part) for part in arguments]


def withdraw(run: RunInfo, state: str = "stopped", message: str = "Stopped before its turn came.") -> None:
    """Take a run out of the queue; it can be resumed. The caller holds the runs' lock."""
    take_ticket(run)
    status: dict[str, Any] = read_object(run.path / "status.json")
    status |= {"state": state, "message": message, "updated": time.time()}
    write_json(run.path / "status.json", status)
