"""What a model's percentages and answer sets are worth."""

import numpy as np
import streamlit as st

from cifar_model.app.models.words import get_command, show_missing
from cifar_model.app.shared import resources
from cifar_model.classes import CLASS_NAMES
from cifar_model.trust.report import Report


def show_trust(report: Report) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        _reliability(report)
    with right:
        _sets(report)
    why = report.explanation
    if why is not None:
        st.subheader("Can its reasons be trusted?", anchor=False)
        st.markdown(
            f"Classify marks where in a picture the evidence for a class lies. On {why['images']:,.0f} test pictures, "
            f"painting over the marked fifth of the pixels cost the class {100 * why['drop_marked']:.0f} points of "
            f"probability, painting over a random fifth {100 * why['drop_random']:.0f}: the wider apart, the more the "
            "marks are what the network goes by."
        )


def _reliability(report: Report) -> None:
    st.subheader("Does 80 % mean 80 %?", anchor=False)
    if report.bins is None:
        return show_missing(report, "How well its percentages hold")
    st.caption(
        "A reliability diagram: test pictures in groups, by how sure the answer was. On the dashed line percentages "
        "mean what they say; below it the network is too sure, above it too modest."
    )
    spec = resources.chart("reliability", report.bins, report.bins_before)
    st.vega_lite_chart(spec=spec, width="stretch", height=400)
    said = []
    if report.calibration_error is not None:
        said.append(f"Mean gap between percentage and truth: **{100 * report.calibration_error:.1f} points**")
        if report.calibration_error_before is not None:
            said[-1] += f", without correction {100 * report.calibration_error_before:.1f}"
        said[-1] += " (expected calibration error, 15 groups of equal size)."
    if report.calibration and report.bins_before is not None:
        confidence, accuracy, _ = np.average(report.bins_before, axis=0, weights=report.bins_before[:, 2])
        kind = "too modest" if confidence < accuracy else "too sure"
        fitted_on = get_command(report.card, "calibration", "fitted_on")
        where = f", found on {fitted_on}" if isinstance(fitted_on, str) else ""
        said.append(
            f"The network's own percentages were {kind}. They are corrected by {_correction(report)}{where}; which "
            "class wins never changes."
        )
    for sentence in said:
        st.markdown(sentence)


def _correction(report: Report) -> str:
    temperature, power = report.calibration["temperature"], report.calibration["power"]
    said = f"a temperature of {temperature:.2f} (one number for all answers: above 1 makes them less sure, below surer)"
    return said + (f" and a power of {power:.2f} (a second one, for where a single one does not fit)" if power else "")


def _sets(report: Report) -> None:
    st.subheader("“Cat or dog”: answer sets", anchor=False)
    if not report.set_levels:
        return show_missing(report, "How large its answer sets are")
    st.caption(
        "Instead of one class, a set that holds the right one as often as asked for (conformal prediction). The surer "
        "you want to be, the larger the set; a good network needs small ones."
    )
    levels = report.set_levels
    st.dataframe(
        {
            "Asked for": [f"{level.level} %" for level in levels],
            "Held the truth": [None if level.coverage is None else 100 * level.coverage for level in levels],
            "Classes in a set": [level.mean_size for level in levels],
        },
        hide_index=True,
        column_config={
            "Held the truth": st.column_config.NumberColumn(
                format="%.1f %%", help="Coverage: the share of test pictures whose set holds the true class."
            ),
            "Classes in a set": st.column_config.NumberColumn(format="%.2f", help="The mean size of the sets."),
        },
        height="content",
        alt="Coverage and mean size of the answer sets at each level",
    )
    if any(level.classes for level in levels):
        st.caption("Classes in a set, by what a picture is: the larger, the harder the class.")
        st.dataframe(
            {"Class": list(CLASS_NAMES)}
            | {f"{level.level} %": [level.classes.get(name) for name in CLASS_NAMES] for level in levels},
            hide_index=True,
            column_config={f"{level.level} %": st.column_config.NumberColumn(format="%.2f") for level in levels},
            height="content",
            alt="Mean size of the answer sets by class and level",
        )
