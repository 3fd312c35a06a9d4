"""A run's history: one row an epoch."""

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cifar_model.models.layout import HISTORY_FILE

if TYPE_CHECKING:
    import pandas as pd

HISTORY_COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "images_per_second",
    "seconds",
)

Row = dict[str, float]


def history_rows(path: Path) -> tuple[Row, ...]:
    """A row of `HISTORY_COLUMNS` for each finished epoch; none where nothing is written yet. `path`: model directory.

    `epoch` is an int, the others floats, nan where a cell is no number. They are kept, so that a page which shows many
    runs reads each file once, and are shared: don't change them.
    """
    file = path / HISTORY_FILE
    try:
        found = file.stat()
    except OSError:
        return ()
    return _rows(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1024)
def _rows(file: Path, changed: int, size: int) -> tuple[Row, ...]:
    try:
        text = file.read_bytes()
    except OSError:
        return ()
    lines = text[: text.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()[1:]
    rows = []
    for cells in (line.split(",") for line in lines):
        values = [_number(cell) for cell in cells]
        if len(values) == len(HISTORY_COLUMNS) and math.isfinite(values[0]):
            rows.append(dict(zip(HISTORY_COLUMNS, (int(values[0]), *values[1:]), strict=True)))
    return tuple(rows)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def read_history(path: Path) -> "pd.DataFrame":
    """`history_rows` as a table, for whoever computes with it."""
    import pandas as pd  # here, so that a page which shows no table opens without it

    frame = pd.DataFrame([*history_rows(path)], columns=list(HISTORY_COLUMNS))
    return frame.astype(dict.fromkeys(HISTORY_COLUMNS, float)).astype({"epoch": int})
