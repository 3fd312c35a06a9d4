"""A run's curves as they come."""

from __future__ import annotations

import streamlit as st

from cifar_model.app.browser.component import component
from cifar_model.app.shared import resources
from cifar_model.app.train.words import EXPLAIN
from cifar_model.runs.read import RunInfo

# Names and colours of the curves: within each epoch, and at its end on training and on held-out images.
SERIES = (("running", "#8FA3B5"), ("training", "#0072B2"), ("validation", "#D55E00"))
# Of each chart its title, and where its values stand in the rows of `Curve.points`.
CHARTS = (
    {"title": "Accuracy", "share": True, "within": 1, "training": 1, "validation": 3},
    {"title": "Loss", "share": False, "within": 2, "training": 2, "validation": 4},
)
_curves = component("curves")


def show_curves(run: RunInfo) -> None:
    """Accuracy and loss by epoch, drawn in the browser from points that all visitors share."""
    st.markdown("**Curves**", help=f"{EXPLAIN['curves']}\n\nLoss: {EXPLAIN['loss']}")
    data = {
        "points": resources.curve(run).points(),
        "epochs": max(1, int(run.settings.get("epochs", 1))),
        "charts": CHARTS,
        "series": SERIES,
    }
    _curves(key="train_curves", data=data)
