"""What a setting does: the accuracy that the trials of a sweep reached, over one of the settings that differ."""

import altair as alt
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from cifar_model.charts.style import NEUTRAL, TRAINING, finish_chart
from cifar_model.errors import SettingsError

MANY = 12  # values, beyond which whole numbers get an axis of their own and no step each
WIDE = 10  # from so many times the smallest value on, an axis is logarithmic
_ALWAYS = ("run", "state", "accuracy")


def setting_chart(trials: pd.DataFrame, setting: str) -> alt.LayerChart:
    """Best validation accuracy over one setting: a dot a trial, a ring where it did not finish, a dash for the mean.

    trials: one row a trial, with columns run (names), state ("finished" or another word), accuracy (0 to 1) and one for
    each setting that differs; at least one row. setting: the column for the horizontal axis; the others are named in
    the tooltip. The mean is that of finished trials, where several share a value.
    """
    if not len(trials) or not {*_ALWAYS, setting} <= set(trials.columns):
        raise SettingsError(
            f"Trials have the columns {', '.join(_ALWAYS)} and {setting}, and at least one row. Received: "
            f"{len(trials)} rows of {', '.join(map(str, trials.columns))}."
        )
    values, title = trials[setting], _title(setting)
    continuous = is_float_dtype(values) or (is_numeric_dtype(values) and values.nunique() > MANY)
    if continuous:
        low, high = float(values.min()), float(values.max())
        kind = "log" if low > 0 and high >= WIDE * low else "linear"
        scale = alt.Scale(type=kind, zero=False, nice=False, padding=30)
        shown = sorted(values.unique().tolist()) if values.nunique() <= MANY else alt.Undefined
        x = alt.X(f"{setting}:Q", title=title, scale=scale, axis=alt.Axis(format="~g", grid=False, values=shown))
    else:
        x = alt.X(f"{setting}:O", title=title, axis=alt.Axis(labelAngle=0))
    y = alt.Y(
        "accuracy:Q",
        title="Validation accuracy (%)",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(labelExpr="format(datum.value * 100, '.3~f')", tickCount=6),
    )
    others = [column for column in trials.columns if column not in _ALWAYS]
    base, finished = alt.Chart(trials).encode(x=x), trials[trials["state"] == "finished"]
    points = base.mark_point(stroke=TRAINING, fill=TRAINING, size=90, strokeWidth=2).encode(
        y=y,
        fillOpacity=alt.condition("datum.state === 'finished'", alt.value(0.9), alt.value(0.05)),
        tooltip=[
            alt.Tooltip("run:N", title="Run"),
            alt.Tooltip("state:N", title="State"),
            alt.Tooltip("accuracy:Q", title="Validation accuracy", format=".1%"),
            *(alt.Tooltip(f"{column}:N", title=_title(column)) for column in others),
        ],
    )
    means = (
        base.transform_filter("datum.state === 'finished'")
        .mark_tick(color=NEUTRAL, thickness=2.5, size=36, orient="horizontal")
        .encode(y="mean(accuracy):Q")
    )
    best = trials.loc[trials["accuracy"].idxmax()]
    shared = finished[setting].nunique() < len(finished)
    return finish_chart(
        alt.layer(means, points) if shared else alt.layer(points),
        description=(
            f"Validation accuracy of {len(trials)} trials over {title.lower()}"
            f"{', with the mean of finished ones that share a value' if shared else ''}. The best: {best['run']}, "
            f"{100 * best['accuracy']:.1f} % with {title.lower()} {best[setting]}."
        ),
        title=None,
        height=290,
    )


def _title(setting: str) -> str:
    return setting.replace("_", " ").capitalize()
