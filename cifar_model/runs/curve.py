"""The points of a run's curves, few enough to be drawn, and the same for whoever looks at them."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

from cifar_model.models.history import history_rows
from cifar_model.runs.read import read_progress

MAX_POINTS = 600  # within epochs: more can't be told apart
_OF_EPOCH = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")


class Curve:
    """Follows the progress of a run directory. Many may ask at once; each line of it is read once."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._offset, self._kept, self._seen, self._text = 0, [], None, ""

    def points(self) -> str:
        """JSON: `within`, rows of epochs done, accuracy and loss; `epochs`, rows of epoch, accuracy, loss, validation
        accuracy and validation loss. A number that is none is null.
        """
        with self._lock:
            history, size = history_rows(self.path), _size(self.path / "progress.jsonl")
            if self._seen != (size, len(history)) or not self._text:
                self._read(size)
                epochs = [[_digits(row[column]) for column in _OF_EPOCH] for row in history]
                self._text = json.dumps({"within": self._kept, "epochs": epochs}, separators=(",", ":"))
                self._seen = size, len(history)
            return self._text

    def _read(self, size: int) -> None:
        if size < self._offset:  # begun anew under the same name
            self._offset, self._kept = 0, []
        records, self._offset = read_progress(self.path, self._offset)
        for record in records:
            done = reached(record)
            while self._kept and self._kept[-1][0] >= done:  # a resumed run repeats an epoch
                self._kept.pop()
            self._kept.append([round(done, 4), _digits(record["accuracy"]), _digits(record["loss"])])
            # One by one, so that the same points stay, however many lines are read at a time.
            if len(self._kept) > MAX_POINTS:
                self._kept = [*self._kept[:-1:2], self._kept[-1]]


def reached(record: dict[str, Any]) -> float:
    """How many epochs, parts included, were done at a progress record."""
    return record["epoch"] - 1 + record["step"] / max(1, record["steps"])


def _digits(number: float) -> float | None:
    return float(f"{number:.5g}") if math.isfinite(number) else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
