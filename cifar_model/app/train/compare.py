"""Curves and settings of several runs side by side."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_model.app.train.words import CHART_HEIGHT, EXPLAIN
from cifar_model.runs.read import RunInfo

CURVE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def compare_runs(found: list[RunInfo]) -> None:
    learned = {run.name: run for run in found if run.history}
    if len(learned) < 2:
        return
    import pandas as pd  # half a second, of no use before

    st.subheader("Compare", anchor=False)
    if "train_compare" in st.session_state:  # a run may have been deleted or renamed since
        kept = [name for name in st.session_state["train_compare"] if name in learned]
        st.session_state["train_compare"] = kept
    else:
        st.session_state["train_compare"] = list(learned)[:3]
    names = st.multiselect("Runs to compare", list(learned), key="train_compare", max_selections=len(CURVE_COLORS))
    if not names:
        return
    with st.grid(2, min_column_width=320):
        for column, title in (("val_accuracy", "Validation accuracy"), ("val_loss", "Validation loss")):
            validation_curves([learned[name] for name in names], column, title)
    table = pd.DataFrame({name: learned[name].settings for name in names}).map(str)
    differs = table.nunique(axis=1) > 1
    everything = len(names) < 2 or st.toggle("Show equal settings too", key="train_all_settings")
    if everything or differs.any():
        st.dataframe(table if everything else table[differs])
    else:
        st.caption("Their settings are equal.")


def validation_curves(runs: list[RunInfo], column: str, title: str) -> None:
    """One column of the history of several runs by epoch, a colour each; at most as many as `CURVE_COLORS`."""
    import pandas as pd

    frame = pd.concat([pd.DataFrame(run.history).assign(run=run.name) for run in runs])
    with st.container(gap="xxsmall"):
        st.markdown(f"**{title}**", help=EXPLAIN["validation"])
        ends = ", ".join(f"{run.name} {run.history[-1][column]:.3g}" for run in runs)
        st.vega_lite_chart(
            frame[["epoch", column, "run"]],
            _overlay_spec(column, [run.name for run in runs]),
            alt=f"{title} by epoch. At the end: {ends}.",
        )


def _overlay_spec(column: str, names: list[str]) -> dict[str, Any]:
    form = ".0%" if column == "val_accuracy" else ".1f"
    return {
        "height": CHART_HEIGHT,
        "mark": {"type": "line", "point": True, "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "title": "Epoch",
                "axis": {"tickMinStep": 1, "format": "d", "titlePadding": 4},
            },
            "y": {
                "field": column,
                "type": "quantitative",
                "title": None,
                "scale": {"zero": False},
                "axis": {"format": form},
            },
            "color": {
                "field": "run",
                "type": "nominal",
                "scale": {"domain": names, "range": list(CURVE_COLORS[: len(names)])},
                "legend": {"title": None, "orient": "top", "columns": 2, "labelLimit": 240, "offset": 6},
            },
            "tooltip": [
                {"field": "run", "title": "Run"},
                {"field": "epoch", "title": "Epoch"},
                {"field": column, "type": "quantitative", "title": "Value", "format": ".4f"},
            ],
        },
    }
