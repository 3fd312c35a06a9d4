"""Follow a run as it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from cifar_model.models.history import history_rows
from cifar_model.runs.read import read_progress, read_run
from cifar_model.runs.start import start_waiting


def follow(name: str, *, poll: float = 0.2) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("progress", record), ("epoch", history row) and ("state", status) as a run goes, until it ends.

    Starts with the run's present state and newest record; the last item is the state that it ended in.
    """
    run = read_run(name)
    # From the newest whole record on: what came before is in the history.
    records, offset = read_progress(run.path)
    for record in records[-1:]:
        yield "progress", record
    rows_seen, state = 0, None
    while True:
        if run.state == "queued":
            start_waiting()
        run = read_run(name)  # its liveness is judged before the files below are read: nothing is missed
        records, offset = read_progress(run.path, offset)
        for record in records:
            yield "progress", record
        rows = history_rows(run.path)
        for row in rows[rows_seen:]:
            yield "epoch", row
        rows_seen = len(rows)
        if run.state != state:
            state = run.state
            yield "state", {**run.status, "state": run.state, "message": run.message}
        if not run.is_live:
            return
        time.sleep(poll)
