"""What Blend gives to take along: picture, chart, table."""

import functools
from collections.abc import Callable

import numpy as np
import streamlit as st

from cifar_model.answering.answer import Answer
from cifar_model.app.blend.choose import SLOTS
from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import Blend
from cifar_model.app.shared.lens import SOFTMAX
from cifar_model.app.shared.names import short_name
from cifar_model.app.shared.reading import Reading, classes_of
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo
from cifar_model.pictures.encode import encode_png
from cifar_model.storage import csv_bytes


def show_downloads(
    blend: Blend,
    frames: np.ndarray,
    models: list[ModelInfo],
    sweeps: Callable[[], list[Answer]],
    reading: Reading,
    hidden: bool,
) -> None:
    """The buttons. `sweeps` gives the models' answers to all frames, once they are there."""
    names = (short_name(blend.pictures["a"].name), short_name(blend.pictures["b"].name))
    stem = "-".join(["blend", *("".join(c if c.isalnum() else "_" for c in name) for name in names), str(blend.ratio)])

    def save(label: str, make, suffix: str, mime: str) -> None:
        # Made when clicked, not with every run of the page.
        st.download_button(label, make, stem + suffix, mime, icon=":material/download:", on_click="ignore")

    with st.container(horizontal=True):
        save("Mixed image (PNG)", lambda: encode_png(frames[blend.ratio]), ".png", "image/png")
        if not models or hidden:
            return
        save("Sweep (CSV)", lambda: _csv(models, sweeps(), reading), ".csv", "text/csv")

        def chart(number: int, suffix: str) -> bytes:
            title = f"Answers of {models[number].title}"
            shown = sweeps()[number].shown(reading.raw)
            return resources.drawing().call("draw_sweep", suffix, shown, names, blend.ratio / 100, title)

        for number, model in enumerate(models):
            label = "Chart" if len(models) == 1 else f"Chart of {model.name}"
            for suffix, mime in ((".png", "image/png"), (".svg", "image/svg+xml")):
                make = functools.partial(chart, number, suffix)
                save(f"{label} ({suffix[1:].upper()})", make, f"-{model.name}{suffix}", mime)
    st.caption(SOFTMAX)
    own = [slot for slot in SLOTS if not blend.is_sample(slot)]
    if own:
        st.caption(
            "The link in the address bar holds the ratio, the way to mix and the models, "
            "but not your own pictures: they stay with this visit."
        )
    else:
        st.caption("The link in the address bar opens this very blend.")


def _csv(models: list[ModelInfo], sweeps: list[Answer], reading: Reading) -> bytes:
    """Rows of model, ratio (share of the first picture, 0 to 1), ten probabilities, and what else a model can say."""
    has_sets = any(sweep.sets is not None for sweep in sweeps)
    has_scope = any(sweep.scope is not None for sweep in sweeps)
    columns = ["model", "ratio", *CLASS_NAMES, *["set"] * has_sets, *["scope", "in_scope"] * has_scope]
    rows = []
    for model, sweep in zip(models, sweeps, strict=True):
        for step in range(len(sweep)):
            belief = sweep[step]
            row = [model.name, step / 100, *(f"{p:.6f}" for p in belief.shown(reading.raw))]
            if has_sets:
                row.append(classes_of(belief.members(reading.level)))
            if has_scope:
                row += [None, None] if belief.scope is None else [f"{belief.scope:.6f}", bool(belief.in_scope)]
            rows.append(row)
    return csv_bytes(columns, rows)
