"""What happens on a node of the cluster: a training takes its ticket, says where it is, and goes its ordinary way."""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
import traceback
from pathlib import Path

import filelock

from cifar_model.runs.hold import is_held
from cifar_model.runs.read import LIVE_STATES, TICKET, read_log, runs_lock
from cifar_model.runs.records import read_object
from cifar_model.runs.remote import LAUNCHER
from cifar_model.runs.start import LAUNCHED
from cifar_model.storage import write_json
from cifar_model.training.folder import BEAT_SECONDS, beat

MOST_TRIES = 5  # without a further epoch: then it is the training that its nodes don't bear
LOCK_SECONDS = 120.0  # a file server holds a lost node's lock on the run for a while; NFS for 90 s


class Training:
    """A run's training as a Ray actor, which Ray makes anew on another node when this one is lost; it ends itself.

    path : of the run's folder, on storage that all nodes see
    ticket : the time on the ticket with which the run began to wait
    """

    def __init__(self, path: str, ticket: float):
        import ray  # slow to import

        context = ray.get_runtime_context()
        self._me = context.current_actor
        threading.Thread(target=self._work, args=(Path(path), ticket, node_name()), daemon=True).start()

    def _work(self, path: Path, ticket: float, node: str) -> None:
        import ray  # slow to import

        try:
            while is_held():
                time.sleep(BEAT_SECONDS)
            if (arguments := begin(path, ticket, node)) is not None:
                threading.Thread(target=beat, args=(path / LAUNCHER, threading.Event()), daemon=True).start()
                if _is_free(path):
                    _train(path, arguments)
        finally:
            ray.kill(self._me, no_restart=True)


def begin(path: Path, ticket: float, node: str) -> list[str] | None:
    """Take a run's ticket, or take over where another node was lost; returns the arguments of `train`.

    None: the run was stopped, deleted or begun anew meanwhile, or the folder isn't seen from here.
    """
    if not path.is_dir():
        return None
    with runs_lock():
        waiting, launcher = read_object(path / TICKET), read_object(path / LAUNCHER)
        status = read_object(path / "status.json")
        if waiting.get("time") == ticket:
            launcher = {"time": ticket, "arguments": waiting["arguments"], "tries": 0, "epoch": None}
            status.pop("pid", None)
        elif waiting or launcher.get("time") != ticket or status.get("state") not in LIVE_STATES:
            return None
        epoch = status.get("epoch", 0)
        tries = launcher["tries"] + 1 if epoch == launcher["epoch"] else 1
        if tries > MOST_TRIES:
            message = (
                f"It was begun {MOST_TRIES} times and lost its node or its process each time before an epoch was done. "
                f"It may need more memory than is there: a smaller batch size needs less.\nThe last node was {node}."
            )
            write_json(path / "status.json", status | {"state": "failed", "message": message, "updated": time.time()})
            return None
        write_json(path / LAUNCHER, launcher | {"node": node, "tries": tries, "epoch": epoch})
        write_json(path / "status.json", status | {"state": "starting", "message": "", "updated": time.time()})
        (path / TICKET).unlink(missing_ok=True)
    # With a pid, the first try has begun to train, so that its settings hold what the arguments ask for.
    return ["--resume", path.name] if "pid" in status else launcher["arguments"]


def _is_free(path: Path) -> bool:
    """Whether nobody else holds the run; one that does, on a node thought lost, goes on with it."""
    try:
        with filelock.FileLock(path / ".lock", timeout=LOCK_SECONDS):
            return True
    except filelock.Timeout:
        return False


def _train(path: Path, arguments: list[str]) -> None:
    """The command `train` in this process, so that none outlives the other; its output goes into the run's log."""
    os.environ[LAUNCHED] = path.name
    with open(path / "log.txt", "ab") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    sys.argv = ["cifar_model", "train", *arguments]
    try:
        runpy.run_module("cifar_model", run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    status = read_object(path / "status.json")
    if status.get("state") in LIVE_STATES:
        message = f"It ended before the training began.\n{read_log(path)}".strip()
        write_json(path / "status.json", status | {"state": "failed", "message": message, "updated": time.time()})


def node_name() -> str:
    """The host's name and the address by which the cluster knows it."""
    import ray  # slow to import

    return f"{os.uname().nodename} ({ray.util.get_node_ip_address()})"


def look_for(file: str, content: str) -> str:
    """What a node sees of a file: "" where that is its content and the folder can be written to, else what is wrong."""
    path = Path(file)
    try:
        if path.read_text() != content:
            return "another file of this name is there"
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(path.parent, os.W_OK) else "its user may not write there"
