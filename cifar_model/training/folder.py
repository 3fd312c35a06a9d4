"""A run's directory while it is written: status, progress, history, checkpoint."""

import csv
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import psutil

from cifar_model.errors import RunError
from cifar_model.models.history import HISTORY_COLUMNS, read_history
from cifar_model.models.layout import EPOCHS_FOLDER, HISTORY_FILE
from cifar_model.storage import read_json, replacing, write_json

if TYPE_CHECKING:
    import keras

    from cifar_model.training.settings import Settings


CHECKPOINT_FOLDER = "checkpoint"


def write_settings(path: Path, settings: "Settings", command: str) -> None:
    """Begin the records of a run: what it is to be trained with, and the command that a person types for that."""
    record = {"name": path.name, "created": time.time(), "command": command, "settings": settings.to_dict()}
    write_json(path / "settings.json", record)


class RunDirectory:
    """Writes every file of one run; at most one process at a time holds it."""

    def __init__(self, path: Path):
        self.path = path
        self.status: dict = {}

    @contextmanager
    def hold(self):
        """Keep other processes off this run; RunError where one is at work on it."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunError(
                f"Another process is at work on the run {self.path.name!r}. Follow it with "
                f"`python -m cifar_model runs follow {self.path.name}`, or choose another name."
            ) from None
        try:
            started = psutil.Process().create_time()
            self.status = {"pid": os.getpid(), "pid_started": started}
            yield
        finally:
            lock.release()

    def set_status(self, state: str | None = None, message: str = "", **values) -> None:
        if state:
            self.status.update(state=state, message=message)
        self.status.update(values, updated=time.time())
        write_json(self.path / "status.json", self.status)

    def append(self, name: str, record: dict) -> None:
        """Add one whole line of JSON to a .jsonl file, at once."""
        self._append_bytes(self.path / name, json.dumps(record).encode() + b"\n")

    @staticmethod
    def _append_bytes(path: Path, line: bytes) -> None:
        # One write call a line: a reader, or a crash, never sees half of one.
        with open(path, "ab", buffering=0) as file:
            file.write(line)

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
        """Take the requests out of the inbox, oldest first; what can't be read is dropped."""
        for file in sorted((self.path / "requests").glob("[0-9]*.json")):  # not the hidden, unfinished ones
            try:
                request = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                request = None
            with suppress(OSError):
                file.unlink()
            if isinstance(request, dict):
                yield request

    def save_checkpoint(self, network: "keras.Model", state: dict) -> None:
        """Keep what `load_checkpoint` needs: weights, optimizer state and `state`.

        The moment that counts is when ``state.json`` takes its new form: a run that is killed before goes on from the
        checkpoint before, one that is killed after, from this one.
        """
        folder = self.path / CHECKPOINT_FOLDER
        folder.mkdir(exist_ok=True)
        name = f"epoch-{state['epoch']:03d}.weights.h5"
        temporary = folder / f"new-{name}"
        try:
            network.save_weights(temporary)
            os.replace(temporary, folder / name)
        finally:
            with suppress(OSError):
                temporary.unlink()
        write_json(folder / "state.json", state | {"weights": name})
        self._clear_checkpoints(name)

    def load_checkpoint(self, network: "keras.Model") -> dict:
        """Restore the newest checkpoint into `network` and return its state; {} where there is none.

        Whatever the files hold beyond that epoch, because the process was killed as it wrote them, is removed.
        """
        folder = self.path / CHECKPOINT_FOLDER
        state = read_json(folder / "state.json") if (folder / "state.json").is_file() else {}
        if state:
            network.load_weights(folder / state["weights"])
        self._clear_checkpoints(state.get("weights"))
        epoch = state.get("epoch", 0)
        history = read_history(self.path)
        self.write_history(history[history["epoch"] <= epoch].to_dict("records"))
        for file in (self.path / EPOCHS_FOLDER).glob("*.keras"):
            number = file.stem.removeprefix("epoch-")
            if number.isdecimal() and int(number) > epoch:
                file.unlink(missing_ok=True)
        # What `replacing` had begun to write; not JSON, which others may be writing now.
        for file in [file for suffix in ("keras", "npz") for file in self.path.rglob(f".*.{suffix}")]:
            file.unlink(missing_ok=True)
        return state

    def _clear_checkpoints(self, kept: str | None) -> None:
        for file in (self.path / CHECKPOINT_FOLDER).glob("*.h5"):
            if file.name != kept:
                file.unlink(missing_ok=True)


def _digits(value) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
