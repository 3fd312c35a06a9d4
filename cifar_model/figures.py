"""Charts and picture sheets: arrays in, Altair charts or Pillow images out.

Every chart has a transparent background and takes its text colour from the page's theme; `save_chart` puts it
on white. Marks that carry text use a grey that reads on white and on near-black.
"""

import html
import math
import os
from collections.abc import Sequence
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from cifar_model.blending import winner_changes
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import LabError, SettingsError
from cifar_model.files import replacing

CLASS_SCALE = alt.Scale(domain=list(CLASS_NAMES), range=list(CLASS_COLORS.values()))
NEUTRAL = "#7A7A7A"  # contrast at least 4:1 on white and on #0E1117
TRAINING, VALIDATION = "#0072B2", "#D55E00"
CHART_SUFFIXES = (".png", ".svg", ".html")


def percent(probability: float) -> str:
    """A probability for a person: '93 %', '0.4 %', '< 0.1 %'; never '100 %' or '0 %' for what is neither."""
    if 0 < probability < 0.001:
        return "< 0.1 %"
    if probability < 0.0995 or 0.99 <= probability < 1:
        return f"{min(100 * probability, 99.9):.1f} %"
    return f"{100 * probability:.0f} %"


def probability_bars(probabilities: np.ndarray, *, title: str | None = None) -> alt.LayerChart:
    """Ten horizontal bars, the most probable class on top.

    probabilities: float (10,), each 0 to 1, order of CLASS_NAMES.
    """
    p = _probabilities(probabilities, ndim=1)
    order = np.argsort(-p, kind="stable")
    data = pd.DataFrame({"class": CLASS_NAMES, "probability": p, "label": [percent(x) for x in p]})
    base = alt.Chart(data).encode(
        y=alt.Y(
            "class:N",
            sort=alt.EncodingSortField("probability", op="max", order="descending"),
            title=None,
            axis=alt.Axis(ticks=False, domain=False, labelPadding=6),
        ),
        x=alt.X(
            "probability:Q",
            title="Probability (%)",
            # The room beyond 100 % is for the label of a full bar.
            scale=alt.Scale(domain=[0, 1.12], nice=False),
            axis=alt.Axis(labelExpr="round(datum.value * 100)", values=[0, 0.2, 0.4, 0.6, 0.8, 1]),
        ),
        tooltip=[alt.Tooltip("class:N", title="Class"), alt.Tooltip("label:N", title="Probability")],
    )
    bars = base.mark_bar(cornerRadiusEnd=2).encode(color=alt.Color("class:N", scale=CLASS_SCALE, legend=None))
    labels = base.mark_text(align="left", dx=4, color=NEUTRAL).encode(text="label:N")
    said = ", ".join(f"{CLASS_NAMES[i]} {percent(p[i])}" for i in order[:3])
    return _finish(
        alt.layer(bars, labels),
        description=f"Bar chart of the ten class probabilities. Highest: {said}.",
        title=title,
        height=240,
    )


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
    p = _probabilities(probabilities, ndim=2)
    if len(p) < 2:
        raise SettingsError(f"A sweep needs at least 2 ratios. Received: {len(p)}.")
    if ratio is not None and not 0 <= ratio <= 1:
        raise SettingsError(f"A ratio lies between 0 and 1. Received: {ratio}.")
    share = np.linspace(0, 100, len(p))
    data = pd.DataFrame(
        {"share": np.repeat(share, 10), "class": list(CLASS_NAMES) * len(p), "probability": p.ravel()}
    )
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
    return _finish(
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
            f"A history has the columns epoch and {quantity}. "
            f"Received: {', '.join(map(str, history.columns))}."
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
    return _finish(
        chart,
        description=f"Line chart of the {quantity} on training and validation images after each epoch.",
        title=None,
        height=240,
    )


def learning_curves(history: pd.DataFrame) -> alt.HConcatChart:
    """Accuracy and loss over the epochs, side by side. history: as in `curve_chart`."""
    description = "Learning curves: accuracy and loss on training and validation images after each epoch."
    if len(history):
        last = history.iloc[-1]
        column = "val_accuracy" if "val_accuracy" in history else "accuracy"
        description += f" After epoch {last['epoch']:.0f}: {column.replace('val_', 'validation ')} "
        description += f"{percent(float(last[column]))}."
    charts = [curve_chart(history, quantity).properties(width=340) for quantity in ("accuracy", "loss")]
    for chart in charts:
        chart.background = alt.Undefined  # only the whole may have one
    return alt.hconcat(*charts).properties(description=description, background="transparent")


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
    return _finish(chart, description=f"Confusion matrix: {said}.", title=title, height=400, width=460)


def reliability_chart(bins: np.ndarray, bins_before: np.ndarray | None = None) -> alt.LayerChart:
    """How often answers are right, against how sure they are; on the diagonal percentages mean what they say.

    bins, bins_before: float (k, 3) from `metrics.reliability_bins`, mean confidence 0 to 1, accuracy 0 to 1, number
    of pictures; of the answers as they are given, and as they were before the temperature (None: without).
    """
    parts = [("without correction", bins_before), ("as answered", bins)]
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
    x = alt.X("confidence:Q", title="How sure it was (%)", scale=scale, axis=axis)
    y = alt.Y("accuracy:Q", title="How often it was right (%)", scale=scale, axis=axis)
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
                alt.Tooltip("confidence:Q", title="How sure", format=".1%"),
                alt.Tooltip("accuracy:Q", title="How often right", format=".1%"),
                alt.Tooltip("count:Q", title="Pictures", format=",d"),
            ],
        )
    )
    last = data[data["answers"] == names[-1]]
    gap = float((np.abs(last["confidence"] - last["accuracy"]) * last["count"]).sum() / last["count"].sum())
    return _finish(
        alt.layer(perfect, curves),
        description=(
            f"Reliability diagram: how often answers are right against how sure they are, in {len(last)} groups of "
            f"pictures. The mean gap is {100 * gap:.1f} percentage points."
        ),
        title=None,
        height=340,
    )


def scope_chart(edges: np.ndarray, test: np.ndarray, outside: np.ndarray, threshold: float) -> alt.LayerChart:
    """Two histograms of the out-of-scope score: test pictures of the ten classes, and pictures that show nothing.

    edges: float (k+1,), rising. test, outside: counts (k,), each drawn as shares of its sum. threshold: below it a
    picture is called out of scope.
    """
    edges, counts = np.asarray(edges, float), [np.asarray(part, float) for part in (test, outside)]
    if edges.ndim != 1 or len(edges) < 2 or any(part.shape != (len(edges) - 1,) for part in counts):
        raise SettingsError(
            f"A histogram has one edge more than bins. Received: {edges.shape} edges, "
            f"{counts[0].shape} and {counts[1].shape} counts."
        )
    names = ("test pictures of the ten classes", "pictures that show nothing")
    parts = [
        pd.DataFrame({"from": edges[:-1], "to": edges[1:], "share": part / max(part.sum(), 1), "pictures": name})
        for name, part in zip(names, counts, strict=True)
    ]
    data = pd.concat(parts).assign(floor=0)
    x = alt.X("from:Q", title="Score (right: more like the ten classes)", scale=alt.Scale(zero=False))
    bars = (
        alt.Chart(data)
        .mark_bar(opacity=0.55, binSpacing=0)
        .encode(
            x=x,
            x2="to:Q",
            y2="floor:Q",
            y=alt.Y("share:Q", title="Share of its pictures", stack=None, axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color(
                "pictures:N",
                scale=alt.Scale(domain=list(names), range=[TRAINING, VALIDATION]),
                legend=alt.Legend(title=None, orient="top", labelLimit=300, columns=1),
            ),
            tooltip=[
                alt.Tooltip("pictures:N", title="Pictures"),
                alt.Tooltip("from:Q", title="Score from", format=".3g"),
                alt.Tooltip("to:Q", title="to", format=".3g"),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
    )
    rule = alt.Chart(pd.DataFrame({"from": [float(threshold)]})).mark_rule(color=NEUTRAL, strokeWidth=2.5)
    caught = float(counts[1][edges[1:] <= threshold].sum() / max(counts[1].sum(), 1))
    return _finish(
        alt.layer(bars, rule.encode(x=x)),
        description=(
            "Two histograms of the out-of-scope score, with its threshold. About "
            f"{percent(caught)} of the pictures that show nothing lie below it."
        ),
        title=None,
        height=300,
    )


def save_chart(chart: alt.TopLevelMixin, path: str | os.PathLike, *, scale: float = 2.0) -> None:
    """Save a chart on white as .png, .svg or a self-contained .html page that needs no network.

    scale: pixels of the PNG for one of the chart's. Raises SettingsError for another suffix, LabError when
    the file can't be written.
    """
    check_chart_path(path)
    path = Path(path)
    chart = chart.properties(background="white", padding=12)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".html":
            # Of the menu only "save as" stays: the editor it offers is a web page.
            actions = {"export": True, "source": False, "compiled": False, "editor": False}
            page = chart.to_html(inline=True, embed_options={"actions": actions})
            title = html.escape(str(chart.description))
            page = page.replace("<html>", '<html lang="en">', 1)
            page = page.replace("<head>", f"<head>\n  <title>{title}</title>", 1)
            temporary.write_text(page, encoding="utf-8")
        else:
            chart.save(temporary, format=path.suffix.lower()[1:], scale_factor=scale)


def check_chart_path(path: str | os.PathLike) -> None:
    """Raise SettingsError unless `path` ends in .png, .svg or .html (to be asked before long work)."""
    if Path(path).suffix.lower() not in CHART_SUFFIXES:
        raise SettingsError(f"A chart is saved as {', '.join(CHART_SUFFIXES)}. Received: {path}.")


def contact_sheet(
    images: np.ndarray, captions: Sequence[str], *, columns: int | None = None, scale: int = 4
) -> Image.Image:
    """Pictures in rows, each with its caption below; what a network sees, enlarged without smoothing.

    images: uint8 (n, 32, 32, 3), n >= 1. captions: n texts; lines are divided by newlines, and a line that
    is too long for its picture is cut with an ellipsis. columns: default about the square root of n, 5 to 12.
    Returns RGB, on white.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or not len(images):
        raise SettingsError(
            f"A contact sheet takes uint8 pixels of shape (n, 32, 32, 3), n at least 1. "
            f"Received: {images.dtype} {images.shape}."
        )
    if len(captions) != len(images):
        raise SettingsError(f"Each picture needs one caption. Received: {len(captions)} for {len(images)}.")
    if scale < 1 or (columns is not None and columns < 1):
        raise SettingsError(f"Scale and columns are at least 1. Received: scale={scale}, columns={columns}.")
    columns = min(columns or min(12, max(5, math.ceil(math.sqrt(len(images))))), len(images))
    rows = math.ceil(len(images) / columns)
    font = ImageFont.load_default(size=max(9, 3 * scale))
    lines = [caption.split("\n") for caption in captions]
    line_height = sum(font.getmetrics()) + 2
    gap, tile = 2 * scale, IMAGE_SIZE * scale
    cell_height = tile + max(map(len, lines)) * line_height + gap
    sheet = Image.new("RGB", (gap + columns * (tile + gap), gap + rows * cell_height + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (pixels, texts) in enumerate(zip(images, lines, strict=True)):
        left = gap + (index % columns) * (tile + gap)
        top = gap + (index // columns) * cell_height
        sheet.paste(Image.fromarray(pixels).resize((tile, tile), Image.Resampling.NEAREST), (left, top))
        # A frame, since a white picture would have no edge.
        draw.rectangle((left - 1, top - 1, left + tile, top + tile), outline="#DDDDDD")
        for number, text in enumerate(texts):
            draw.text((left, top + tile + 2 + number * line_height), _fit(text, font, tile), "#222222", font)
    return sheet


def save_sheet(sheet: Image.Image, path: str | os.PathLike) -> None:
    """Save a contact sheet; the suffix says as what (.png, .jpg, .webp). Raises SettingsError, LabError."""
    check_sheet_path(path)
    with replacing(path) as temporary:
        sheet.save(temporary)


def check_sheet_path(path: str | os.PathLike) -> None:
    """Raise SettingsError unless `path` ends in .png, .jpg, .jpeg or .webp."""
    if Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise SettingsError(f"A picture is saved as .png, .jpg or .webp. Received: {path}.")


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _probabilities(values: np.ndarray, *, ndim: int) -> np.ndarray:
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != ndim or p.shape[-1] != 10:
        wanted = "(10,)" if ndim == 1 else "(steps, 10)"
        raise SettingsError(f"Probabilities have the shape {wanted}. Received: {p.shape}.")
    if not np.isfinite(p).all():
        raise LabError("The network's answer holds numbers that are not finite: its training diverged.")
    return p


def _finish(chart: alt.Chart, *, description: str, title: str | None, height: int, width: int = 560):
    chart = chart.properties(description=description, height=height, width=width, background="transparent")
    return chart.properties(title=title) if title else chart
