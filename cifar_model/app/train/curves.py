"""The live curves' points and their chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from cifar_model.app.train.words import CHART_HEIGHT, reached
from cifar_model.runs.read import RunInfo, read_progress

MAX_POINTS = 300  # of the running curve: more can't be told apart
SERIES = {"running": "#8FA3B5", "training": "#0072B2", "validation": "#D55E00"}
WITHIN, TRAINING, VALIDATION = SERIES


def curve_points(run: RunInfo) -> pd.DataFrame:
    """epoch, value, series, quantity: the finished epochs, and the running values within each epoch."""
    offset, kept = st.session_state.get(f"_progress_{run.name}", (0, []))
    if kept and offset > _size(run.path / "progress.jsonl"):  # begun anew under the same name
        offset, kept = 0, []
    records, offset = read_progress(run.path, offset)
    kept = list(kept)
    for record in records:
        while kept and reached(kept[-1]) >= reached(record):  # a resumed run repeats an epoch
            kept.pop()
        kept.append(record)
    if len(kept) > 2 * MAX_POINTS:
        kept = [*kept[:-1:2], kept[-1]]
    st.session_state[f"_progress_{run.name}"] = (offset, kept)
    rows = []
    for quantity in ("accuracy", "loss"):
        for record in kept:
            rows.append((reached(record), record[quantity], WITHIN, quantity))
        for series, column in ((TRAINING, quantity), (VALIDATION, f"val_{quantity}")):
            rows += [(*pair, series, quantity) for pair in run.history[["epoch", column]].itertuples(index=False)]
    points = pd.DataFrame(rows, columns=["epoch", "value", "series", "quantity"])
    return points.astype({"epoch": "float64", "value": "float64", "series": "object", "quantity": "object"})


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def curve_spec(quantity: str, epochs: int) -> dict[str, Any]:
    """A Vega-Lite chart without its data: the same at every look, so that the browser changes data alone."""
    y_axis = {"minExtent": 34, "tickCount": 5}
    if quantity == "accuracy":
        y = {"scale": {"domain": [0, 1]}, "axis": {**y_axis, "format": ".0%"}}
    else:
        y = {"scale": {"zero": True, "nice": True}, "axis": {**y_axis, "format": ".1f"}}
    running = f"datum.series === '{WITHIN}'"
    return {
        "height": CHART_HEIGHT,
        "encoding": {
            "x": {
                "field": "epoch", "type": "quantitative", "title": "Epoch",
                "scale": {"domain": [0, epochs], "nice": False},
                "axis": {"tickMinStep": 1, "format": "d", "titlePadding": 4},
            },
            "y": {"field": "value", "type": "quantitative", "title": None, **y},
            "color": {
                "field": "series", "type": "nominal",
                "scale": {"domain": list(SERIES), "range": list(SERIES.values())},
                "legend": {"title": None, "orient": "top", "columns": 3, "offset": 6},
            },
        },
        "layer": [
            {"transform": [{"filter": running}], "mark": {"type": "line", "strokeWidth": 1.2, "clip": True}},
            {
                "transform": [{"filter": f"!({running})"}],
                "mark": {"type": "line", "strokeWidth": 2.2, "point": {"size": 45}},
                "encoding": {
                    "tooltip": [
                        {"field": "epoch", "type": "quantitative", "title": "Epoch"},
                        {"field": "series", "type": "nominal", "title": "Pictures"},
                        {
                            "field": "value", "type": "quantitative", "title": quantity.capitalize(),
                            "format": ".1%" if quantity == "accuracy" else ".3f",
                        },
                    ]
                },
            },
        ],
    }  # fmt: skip
