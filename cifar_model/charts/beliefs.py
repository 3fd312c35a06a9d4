"""What a classifier believes along a mix, as ten curves."""

import altair as alt
import numpy as np
import pandas as pd

from cifar_model.charts.style import NEUTRAL, finish_chart
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.errors import LabError, SettingsError
from cifar_model.pictures.winners import winner_changes

CLASS_SCALE = alt.Scale(domain=list(CLASS_NAMES), range=list(CLASS_COLORS.values()))


def sweep_chart(
    probabilities: np.ndarray,
    *,
    names: tuple[str, str] = ("A", "B"),
    ratio: float | None = None,
    title: str | None = None,
) -> alt.LayerChart:
    """The ten probabilities while picture B turns into picture A, with the places where the winner changes.

    probabilities: float (steps, 10), each 0 to 1; row k belongs to the ratio k / (steps - 1), the share of A.
    names: what to call A and B on the axis.
    ratio: 0 to 1; marks the mix that is being looked at.
    """
    p = _probabilities(probabilities)
    if len(p) < 2:
        raise SettingsError(f"A sweep needs at least 2 ratios. Received: {len(p)}.")
    if ratio is not None and not 0 <= ratio <= 1:
        raise SettingsError(f"A ratio lies between 0 and 1. Received: {ratio}.")
    share = np.linspace(0, 100, len(p))
    data = pd.DataFrame({"share": np.repeat(share, 10), "class": list(CLASS_NAMES) * len(p), "probability": p.ravel()})
    # Classes that never matter stay as thin lines, out of the legend.
    named = [name for name, peak in zip(CLASS_NAMES, p.max(axis=0), strict=True) if peak >= 0.05]
    x = alt.X(
        "share:Q",
        title=f"Share of {names[0]} in the mix (%), the rest is {names[1]}",
        scale=alt.Scale(domain=[0, 100], nice=False),
    )
    y = alt.Y(
        "probability:Q",
        title="Probability (%)",
        # The room above 100 % is for the labels of the winner's changes.
        scale=alt.Scale(domain=[0, 1.2], nice=False),
        axis=alt.Axis(labelExpr="round(datum.value * 100)", values=[0, 0.2, 0.4, 0.6, 0.8, 1]),
    )
    matters = alt.FieldOneOfPredicate("class", named)
    layers = [
        alt.Chart(data)
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "class:N", scale=CLASS_SCALE, legend=alt.Legend(title=None, values=named, symbolStrokeWidth=3)
            ),
            size=alt.condition(matters, alt.value(2.5), alt.value(1)),
            opacity=alt.condition(matters, alt.value(1), alt.value(0.5)),
            tooltip=[
                alt.Tooltip("share:Q", title=f"{names[0]} (%)", format=".0f"),
                alt.Tooltip("class:N", title="Class"),
                alt.Tooltip("probability:Q", title="Probability", format=".1%"),
            ],
        )
    ]
    changes = winner_changes(p)
    named_changes = [(CLASS_NAMES[c.before], CLASS_NAMES[c.after], 100 * c.ratio) for c in changes]
    if changes:
        marks = pd.DataFrame(
            {
                "share": [at for _, _, at in named_changes],
                "label": [f"{before} → {after} at {at:.0f} %" for before, after, at in named_changes],
                # Neighbouring labels take turns in height, and lean away from the nearer edge.
                "top": [1.2 - 0.07 * (i % 3) for i in range(len(changes))],
                "bottom": 0,
            }
        )
        base = alt.Chart(marks).encode(x=x, y="top:Q", tooltip=alt.Tooltip("label:N", title="Winner changes"))
        layers.append(base.mark_rule(color=NEUTRAL, strokeDash=[4, 3], strokeWidth=1.5).encode(y2="bottom:Q"))
        for test, align, dx in (("datum.share <= 50", "left", 5), ("datum.share > 50", "right", -5)):
            layers.append(
                base.transform_filter(test)
                .mark_text(color=NEUTRAL, align=align, dx=dx, baseline="top", dy=2)
                .encode(text="label:N")
            )
    if ratio is not None:
        here = alt.Chart(pd.DataFrame({"share": [100.0 * ratio], "top": [1], "bottom": [0]}))
        layers.append(here.mark_rule(color=NEUTRAL, strokeWidth=2.5).encode(x=x, y="top:Q", y2="bottom:Q"))
    said = "; ".join(
        f"at {at:.0f} % the winner changes from {before} to {after}" for before, after, at in named_changes
    )
    return finish_chart(
        alt.layer(*layers),
        description=(
            f"Line chart of the ten class probabilities, from 0 % {names[0]} (all {names[1]}) "
            f"to 100 % {names[0]}: "
            f"{CLASS_NAMES[p[0].argmax()]} wins at 0 %, {CLASS_NAMES[p[-1].argmax()]} at 100 %"
            + (f"; {said}." if said else "; the winner never changes.")
        ),
        title=title,
        height=320,
    )


def _probabilities(values: np.ndarray) -> np.ndarray:
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != 2 or p.shape[-1] != 10:
        raise SettingsError(f"Probabilities have the shape (steps, 10). Received: {p.shape}.")
    if not np.isfinite(p).all():
        raise LabError("The network's answer holds numbers that are not finite: its training diverged.")
    return p
