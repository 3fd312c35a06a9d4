"""A run's directory while it is written: status, progress, history, checkpoint."""

import csv
import errno
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
import psutil

from cifar_model.errors import LabError, RunError
from cifar_model.models.history import HISTORY_COLUMNS, history_rows
from cifar_model.models.layout import EPOCHS_FOLDER, HISTORY_FILE
from cifar_model.storage import read_json, replacing, write_json

if TYPE_CHECKING:
    import keras

    from cifar_model.training.settings import Settings


CHECKPOINT_FOLDER = "checkpoint"
RESERVE_BYTES = 65_536
ALIVE_FILE = ".alive"  # touched while a process is at work, for those who can't see its number
BEAT_SECONDS = 2.0  # between two touches


@lru_cache(maxsize=1)
def this_host() -> str:
    """Where a process's number means what it means here: this machine since its start, and a container's own list."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.stat('/proc/self/ns/pid').st_ino}"
    return platform.node()


def beat(file: Path, over: threading.Event) -> None:
    """Touch a file every few seconds until it is over."""
    while not over.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(file)


def write_settings(path: Path, settings: "Settings", command: str, sweep: dict | None = None) -> None:
    """Begin the records of a run: what it is to be trained with, and the command that a person types for that.

    sweep : of a sweep's trial, what `runs.sweeps` notes
    """
    record = {"name": path.name, "created": time.time(), "command": command, "settings": settings.to_dict()}
    if sweep:
        record["sweep"] = sweep
    write_json(path / "settings.json", record)


class RunDirectory:
    """Writes every file of one run; at most one process at a time holds it."""

    def __init__(self, path: Path):
        self.path = path
        self.status: dict = {}
        self._reserve = path / ".reserve"  # room in which a full disk can be told

    @contextmanager
    def hold(self):
        """Keep other processes off this run; RunError where one is at work on it."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock, over = filelock.FileLock(self.path / ".lock", timeout=0), threading.Event()
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunError(at_work(self.path.name)) from None
        try:
            started = psutil.Process().create_time()
            self.status = {"pid": os.getpid(), "pid_started": started, "host": this_host()}
            self.status["epoch"] = self._kept().get("epoch", 0)
            with suppress(OSError):
                (self.path / ALIVE_FILE).touch()
                self._reserve.write_bytes(os.urandom(RESERVE_BYTES))
            threading.Thread(target=beat, args=(self.path / ALIVE_FILE, over), daemon=True).start()
            yield
        finally:
            over.set()
            for file in (self._reserve, self.path / ALIVE_FILE):
                with suppress(OSError):
                    file.unlink()
            lock.release()  # its file stays: another process may be waiting for this very file

    def set_status(self, state: str | None = None, message: str = "", **values) -> None:
        if state:
            self.status.update(state=state, message=message)
        self.status.update(values, updated=time.time())
        write_json(self.path / "status.json", self.status)

    def fail(self, message: str) -> None:
        """Say why the run ends, as well as can be, in the room that was kept for it."""
        with suppress(OSError):
            self._reserve.unlink()
        with suppress(LabError, OSError):
            self.set_status("failed", message)

    def append(self, name: str, record: dict) -> None:
        """Add one whole line of JSON to a .jsonl file, at once."""
        self._append_bytes(self.path / name, json.dumps(record).encode() + b"\n")

    @staticmethod
    def _append_bytes(path: Path, line: bytes) -> None:
        # One write call a line: a reader, or a crash, never sees half of one.
        with open(path, "ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            if file.write(line) != len(line):  # the disk is full
                file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def write_history(self, rows: list[dict]) -> None:
        """Replace history.csv; used to begin and to drop epochs that a resumed run repeats."""
        with replacing(self.path / HISTORY_FILE) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def append_history(self, row: dict) -> None:
        line = ",".join(_digits(row[column]) for column in HISTORY_COLUMNS) + "\n"
        self._append_bytes(self.path / HISTORY_FILE, line.encode())

    def requests(self) -> Iterator[dict]:
        """Take the requests out of the inbox, oldest first; what can't be read is dropped.

        A request leaves the inbox when the next one is asked for: whoever waits for that finds it carried out.
        """
        for file in sorted((self.path / "requests").glob("[0-9]*.json")):  # not the hidden, unfinished ones
            try:
                request = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                request = None
            if isinstance(request, dict):
                yield request
            with suppress(OSError):
                file.unlink()

    def forget_requests(self, before: float) -> None:
        """Take out what was asked before that Unix time: of a process that has ended since."""
        for file in (self.path / "requests").glob("[0-9]*.json"):
            asked = file.name.partition("-")[0]
            if not asked.isdecimal() or int(asked) < before * 1e9:
                file.unlink(missing_ok=True)

    def save_checkpoint(self, network: "keras.Model", state: dict) -> None:
        """Keep what `load_checkpoint` needs: weights, optimizer state and `state`.

        The moment that counts is when ``state.json`` takes its new form: a run that is killed before goes on from the
        checkpoint before, one that is killed after, from this one.
        """
        folder = self.path / CHECKPOINT_FOLDER
        folder.mkdir(exist_ok=True)
        name = f"epoch-{state['epoch']:03d}.npz"
        # Not `save_weights`: on a full disk HDF5 ends the process with a segmentation fault.
        with replacing(folder / name) as temporary:
            np.savez(temporary, *map(_array, _variables(network)))
        write_json(folder / "state.json", state | {"weights": name})
        self._clear_checkpoints(name)

    def load_checkpoint(self, network: "keras.Model") -> dict:
        """Restore the newest checkpoint into `network` and return its state; {} where there is none.

        Whatever the files hold beyond that epoch, because the process was killed as it wrote them, is removed.
        """
        folder = self.path / CHECKPOINT_FOLDER
        state = self._kept()
        if state and state["weights"].endswith(".h5"):  # of an older version
            network.load_weights(folder / state["weights"])
        elif state:
            with np.load(folder / state["weights"], allow_pickle=False) as arrays:
                for variable, name in zip(_variables(network), arrays.files, strict=True):
                    variable.assign(arrays[name])
        self._clear_checkpoints(state.get("weights"))
        epoch = state.get("epoch", 0)
        self.write_history([row for row in history_rows(self.path) if row["epoch"] <= epoch])
        for file in (self.path / EPOCHS_FOLDER).glob("*.keras"):
            number = file.stem.removeprefix("epoch-")
            if number.isdecimal() and int(number) > epoch:
                file.unlink(missing_ok=True)
        # What `replacing` had begun to write; not fresh JSON, which others may be writing now.
        for file in [file for suffix in ("keras", "npz", "json") for file in self.path.rglob(f".*.{suffix}")]:
            with suppress(OSError):
                if file.suffix != ".json" or time.time() - file.stat().st_mtime > 60:
                    file.unlink()
        return state

    def _kept(self) -> dict:
        """The state in the newest checkpoint; {} where there is none."""
        file = self.path / CHECKPOINT_FOLDER / "state.json"
        return read_json(file) if file.is_file() else {}

    def _clear_checkpoints(self, kept: str | None) -> None:
        for file in (self.path / CHECKPOINT_FOLDER).glob("*epoch-*"):
            if file.name != kept:
                file.unlink(missing_ok=True)


def _variables(network: "keras.Model") -> list:
    """All that an epoch changes: weights, running means, the optimizer's state; in an order that doesn't change."""
    return [*network.weights, *network.optimizer.variables]


def _array(variable) -> np.ndarray:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable))


def at_work(name: str) -> str:
    """What to say of a run that another process holds."""
    return (
        f"Another process is at work on the run {name!r}. Follow it with "
        f"`python -m cifar_model runs follow {name}`, or choose another name."
    )


def _digits(value) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
