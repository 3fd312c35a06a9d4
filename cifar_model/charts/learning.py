"""Learning curves."""

import altair as alt
import pandas as pd

from cifar_model.charts.style import TRAINING, VALIDATION, finish_chart
from cifar_model.errors import SettingsError


def curve_chart(history: pd.DataFrame, quantity: str = "accuracy") -> alt.Chart:
    """One quantity of a run over its epochs, training and validation.

    history: columns epoch (1-based), loss, accuracy (0 to 1), val_loss, val_accuracy; no rows is allowed.
    quantity: "accuracy" or "loss". The chart differs between two histories in its data alone, so that a page
    can redraw it without a flicker.
    """
    if quantity not in ("accuracy", "loss"):
        raise SettingsError(f"Curves are drawn of accuracy or loss. Received: {quantity!r}.")
    if "epoch" not in history or quantity not in history:
        raise SettingsError(
            f"A history has the columns epoch and {quantity}. Received: {', '.join(map(str, history.columns))}."
        )
    parts = [("training", quantity), ("validation", f"val_{quantity}")]
    data = pd.concat(
        [
            pd.DataFrame({"epoch": history["epoch"], "value": history[column], "images": name})
            for name, column in parts
            if column in history
        ],
        ignore_index=True,
    ).astype({"epoch": "float64", "value": "float64", "images": "object"})
    data = data.dropna()
    is_accuracy = quantity == "accuracy"
    axis = alt.Axis(labelExpr="format(datum.value * 100, '.3~f')", tickCount=6) if is_accuracy else alt.Axis()
    y = alt.Y(
        "value:Q",
        title="Accuracy (%)" if is_accuracy else "Loss (nats)",
        scale=alt.Scale(zero=not is_accuracy),
        axis=axis,
    )
    chart = (
        alt.Chart(data)
        .mark_line(point=True, strokeWidth=2)
        .encode(
            # With few epochs the axis also ticks at halves, which get no label.
            x=alt.X(
                "epoch:Q",
                title="Epoch",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(labelExpr="datum.value % 1 ? '' : datum.label", ticks=False, grid=False),
            ),
            y=y,
            color=alt.Color(
                "images:N",
                scale=alt.Scale(domain=["training", "validation"], range=[TRAINING, VALIDATION]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=[
                alt.Tooltip("epoch:Q", title="Epoch"),
                alt.Tooltip("images:N", title="Images"),
                alt.Tooltip("value:Q", title=quantity.capitalize(), format=".2%" if is_accuracy else ".4f"),
            ],
        )
    )
    return finish_chart(
        chart,
        description=f"Line chart of the {quantity} on training and validation images after each epoch.",
        title=None,
        height=240,
    )
