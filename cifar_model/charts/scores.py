"""How good and how honest a classifier is: confusion, reliability, the out-of-scope score."""

import altair as alt
import numpy as np
import pandas as pd

from cifar_model.charts.style import NEUTRAL, TRAINING, VALIDATION, finish_chart
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import SettingsError
from cifar_model.text import share
from cifar_model.trust.calibration import mean_gap


def confusion_chart(matrix: np.ndarray, *, title: str | None = None) -> alt.LayerChart:
    """A heat map of which class was taken for which.

    matrix: int (10, 10) counts, rows = truth, columns = the network's answer (`metrics.confusion_matrix`).
    """
    counts = np.asarray(matrix)
    if counts.shape != (10, 10) or counts.min() < 0:
        raise SettingsError(f"A confusion matrix holds counts, shape (10, 10). Received: {counts.shape}.")
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    data = pd.DataFrame(
        {
            "truth": np.repeat(CLASS_NAMES, 10),
            "answer": list(CLASS_NAMES) * 10,
            "count": counts.ravel(),
            "share": share.ravel(),
        }
    )
    base = alt.Chart(data).encode(
        x=alt.X("answer:N", sort=list(CLASS_NAMES), title="Answer", axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("truth:N", sort=list(CLASS_NAMES), title="Truth"),
        tooltip=[
            alt.Tooltip("truth:N", title="Truth"),
            alt.Tooltip("answer:N", title="Answer"),
            alt.Tooltip("count:Q", title="Images"),
            alt.Tooltip("share:Q", title="Share of the true class", format=".1%"),
        ],
    )
    cells = base.mark_rect().encode(
        color=alt.Color(
            "share:Q",
            title="Share of the true class",
            # The square root lets errors of 1 to 5 % be told apart beside a diagonal near 100 %.
            scale=alt.Scale(type="sqrt", domain=[0, 1], scheme="blues"),
            legend=alt.Legend(format=".0%", values=[0, 0.05, 0.25, 0.5, 1]),
        )
    )
    # The cells are filled, so the text's colour follows the cell and not the page.
    text = base.mark_text(fontSize=11).encode(
        text=alt.Text("count:Q", format="d"),
        color=alt.condition("datum.share > 0.2", alt.value("white"), alt.value("#222222")),
    )
    wrong = np.where(np.eye(10, dtype=bool), -1, counts)
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    said = f"{int(np.trace(counts))} of {int(counts.sum())} images are answered correctly"
    if wrong[row, column] > 0:
        said += f"; the most common error: {CLASS_NAMES[row]} taken for {CLASS_NAMES[column]}"
        said += f" ({wrong[row, column]} times)"
    chart = alt.layer(cells, text).resolve_scale(color="independent")
    return finish_chart(chart, description=f"Confusion matrix: {said}.", title=title, height=400, width=460)


def reliability_chart(bins: np.ndarray, bins_before: np.ndarray | None = None) -> alt.LayerChart:
    """How often answers are right, against how sure they are; on the diagonal percentages mean what they say.

    bins, bins_before: float (k, 3) from `calibration.reliability_bins`, mean confidence 0 to 1, accuracy 0 to 1, number
    of pictures; of the answers as they are given, and as they were before the temperature (None: without).
    """
    parts = [("without calibration", bins_before), ("as answered", bins)]
    rows = []
    for name, part in parts:
        if part is None:
            continue
        part = np.asarray(part, float)
        if part.ndim != 2 or part.shape[1] != 3 or not len(part):
            raise SettingsError(f"Reliability bins have the shape (k, 3), k at least 1. Received: {part.shape}.")
        rows += [{"answers": name, "confidence": c, "accuracy": a, "count": n} for c, a, n in part]
    data = pd.DataFrame(rows)
    axis = alt.Axis(labelExpr="round(datum.value * 100)", values=[0, 0.2, 0.4, 0.6, 0.8, 1])
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("confidence:Q", title="Confidence (%)", scale=scale, axis=axis)
    y = alt.Y("accuracy:Q", title="Accuracy (%)", scale=scale, axis=axis)
    perfect = (
        alt.Chart(pd.DataFrame({"confidence": [0, 1], "accuracy": [0, 1]}))
        .mark_line(color=NEUTRAL, strokeDash=[5, 4], strokeWidth=1.5)
        .encode(x=x, y=y)
    )
    names = [name for name, part in parts if part is not None]
    curves = (
        alt.Chart(data)
        .mark_line(point=alt.OverlayMarkDef(size=55), strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "answers:N",
                scale=alt.Scale(domain=names, range=[NEUTRAL, TRAINING][-len(names) :]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=[
                alt.Tooltip("answers:N", title="Answers"),
                alt.Tooltip("confidence:Q", title="Confidence", format=".1%"),
                alt.Tooltip("accuracy:Q", title="Accuracy", format=".1%"),
                alt.Tooltip("count:Q", title="Images", format=",d"),
            ],
        )
    )
    return finish_chart(
        alt.layer(perfect, curves),
        description=(
            f"Reliability diagram: accuracy against confidence, in {len(bins)} groups of images. The mean gap is "
            f"{100 * mean_gap(bins):.1f} percentage points."
        ),
        title=None,
        height=340,
    )


def scope_chart(edges: np.ndarray, test: np.ndarray, outside: np.ndarray, threshold: float) -> alt.LayerChart:
    """Two histograms of the out-of-scope score: test images of the ten classes, and pictures that show nothing.

    edges: float (k+1,), rising. test, outside: counts (k,), each drawn as shares of its sum. threshold: below it a
    picture is called out of scope.
    """
    edges, counts = np.asarray(edges, float), [np.asarray(part, float) for part in (test, outside)]
    if edges.ndim != 1 or len(edges) < 2 or any(part.shape != (len(edges) - 1,) for part in counts):
        raise SettingsError(
            f"A histogram has one edge more than bins. Received: {edges.shape} edges, "
            f"{counts[0].shape} and {counts[1].shape} counts."
        )
    names = ("test images of the ten classes", "images that show nothing")
    parts = [
        pd.DataFrame({"from": edges[:-1], "to": edges[1:], "share": part / max(part.sum(), 1), "pictures": name})
        for name, part in zip(names, counts, strict=True)
    ]
    data = pd.concat(parts).assign(floor=0)
    x = alt.X("from:Q", title="Score (higher: more like the ten classes)", scale=alt.Scale(zero=False))
    bars = (
        alt.Chart(data)
        .mark_bar(opacity=0.55, binSpacing=0)
        .encode(
            x=x,
            x2="to:Q",
            y2="floor:Q",
            y=alt.Y("share:Q", title="Share of the images", stack=None, axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color(
                "pictures:N",
                scale=alt.Scale(domain=list(names), range=[TRAINING, VALIDATION]),
                legend=alt.Legend(title=None, orient="top", labelLimit=300, columns=1),
            ),
            tooltip=[
                alt.Tooltip("pictures:N", title="Images"),
                alt.Tooltip("from:Q", title="Score from", format=".3g"),
                alt.Tooltip("to:Q", title="to", format=".3g"),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
    )
    rule = alt.Chart(pd.DataFrame({"from": [float(threshold)]})).mark_rule(color=NEUTRAL, strokeWidth=2.5)
    caught = float(counts[1][edges[1:] <= threshold].sum() / max(counts[1].sum(), 1))
    return finish_chart(
        alt.layer(bars, rule.encode(x=x)),
        description=(
            "Two histograms of the out-of-scope score, with its threshold. About "
            f"{share(caught, 0)} of the images that show nothing lie below it."
        ),
        title=None,
        height=300,
    )
