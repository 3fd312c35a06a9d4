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
from cifar_model.models.history import HISTORY_COLUMNS
from cifar_model.models.layout import HISTORY_FILE
from cifar_model.storage import read_json, replacing, write_json

if TYPE_CHECKING:
    import keras


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
        """Keep what `load_checkpoint` needs: weights, optimizer state and `state`; the older one goes last."""
        folder = self.path / "checkpoint"
        folder.mkdir(exist_ok=True)
        name = f"epoch-{state['epoch']:03d}.weights.h5"
        temporary = folder / f"new-{name}"
        network.save_weights(temporary)
        os.replace(temporary, folder / name)
        write_json(folder / "state.json", state | {"weights": name})
        for old in folder.glob("*.weights.h5"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def load_checkpoint(self, network: "keras.Model") -> dict:
        """Restore the newest checkpoint into `network` and return its state; {} where there is none."""
        folder = self.path / "checkpoint"
        if not (folder / "state.json").is_file():
            return {}
        state = read_json(folder / "state.json")
        network.load_weights(folder / state["weights"])
        return state


def _digits(value) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
