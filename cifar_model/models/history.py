"""A run's history: one row an epoch."""

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


def read_history(path: Path) -> "pd.DataFrame":
    """One row a finished epoch with `HISTORY_COLUMNS`; empty where nothing is written yet. `path`: model directory."""
    import pandas as pd  # here, so that a page which shows no table opens without it

    try:
        text = (path / HISTORY_FILE).read_bytes()
    except OSError:
        text = b""
    rows = [line.split(",") for line in text[: text.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()[1:]]
    rows = [row for row in rows if len(row) == len(HISTORY_COLUMNS)]
    frame = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)).apply(pd.to_numeric, errors="coerce")
    return frame.astype(dict.fromkeys(HISTORY_COLUMNS, float)).dropna(subset="epoch").astype({"epoch": int})
