"""What a model's percentages and answer sets are worth."""

import numpy as np
import streamlit as st

from cifar_model.app.models.words import show_missing
from cifar_model.app.shared import resources
from cifar_model.classes import CLASS_NAMES
from cifar_model.text import escape_markdown, share
from cifar_model.trust.report import Report


def show_reliability(report: Report) -> None:
    """Whether its percentages hold, and what its reasons are worth."""
    left, right = st.columns([1.2, 1], gap="large")
    with left:
        if report.bins is None:
            show_missing(report, "How well its percentages hold")
        else:
            spec = resources.chart("reliability", report.bins, report.bins_before)
            st.vega_lite_chart(spec=spec, width="stretch", height=360)
    with right:
        if report.bins is not None:
            _gaps(report)
        _reasons(report)


def _reasons(report: Report) -> None:
    why = report.explanation
    if why is not None:
        st.subheader("How faithful are its explanations?", anchor=False)
        how = f" ({escape_markdown(why.removed)})" if why.removed else ""
        st.markdown(
            f"Classify marks where in an image the evidence for a class lies. On {why.images:,} test images, "
            f"hiding the marked fifth of the pixels{how} cost the class {100 * why.drop_marked:.0f} points of "
            f"probability, hiding patches of the same shapes elsewhere {100 * why.drop_elsewhere:.0f}. "
            "The wider apart, the more faithful."
        )


def _gaps(report: Report) -> None:
    st.caption(
        "A reliability diagram: test images grouped by the confidence of the answer. On the dashed line percentages "
        "mean what they say; below it the network is overconfident, above it underconfident."
    )
    said = []
    if report.calibration_error is not None:
        said.append(f"Mean gap between confidence and accuracy: **{100 * report.calibration_error:.1f} points**")
        if report.calibration_error_before is not None:
            said[-1] += f", without calibration {100 * report.calibration_error_before:.1f}"
        said[-1] += " (expected calibration error, 15 groups of equal size)."
    if report.calibration and report.bins_before is not None:
        confidence, accuracy, _ = np.average(report.bins_before, axis=0, weights=report.bins_before[:, 2])
        kind = "underconfident" if confidence < accuracy else "overconfident"
        fitted_on = report.card.calibration.fitted_on
        where = f", fitted on {escape_markdown(fitted_on)}" if fitted_on else ""
        said.append(
            f"The network's own softmax is {kind}. It is calibrated by {_correction(report)}{where}; the predicted "
            "class never changes."
        )
    for sentence in said:
        st.markdown(sentence)


def _correction(report: Report) -> str:
    temperature, even_share = report.calibration["temperature"], report.calibration["even_share"]
    said = (
        f"a temperature of {temperature:.2f} (one number for all answers: above 1 lowers confidence, below 1 raises it)"
    )
    if not even_share:
        return said
    return f"{said}, after {share(even_share, 0)} of the smallest probability, a floor of every class, is taken off all"


def show_sets(report: Report) -> None:
    """Coverage and size of its answer sets."""
    if not report.set_levels:
        return show_missing(report, "How large its answer sets are")
    st.caption(
        "“Cat or dog”: instead of one class, a set that contains the true class as often as asked for (conformal "
        "prediction). The more often, the larger the sets; a good network needs small ones."
    )
    levels = report.set_levels
    st.dataframe(
        {
            "Asked for": [f"{n} %" for n in levels],
            "Contained the true class": [
                None if level.coverage is None else 100 * level.coverage for level in levels.values()
            ],
            "Worst class": [level.worst_class for level in levels.values()],
            "Classes in a set": [level.mean_size for level in levels.values()],
        },
        hide_index=True,
        column_config={
            "Contained the true class": st.column_config.NumberColumn(
                format="%.1f %%", help="Coverage: the share of test images whose set contains the true class."
            ),
            "Worst class": st.column_config.TextColumn(
                help="The class whose images' sets contain it least often. The promise is one over all images."
            ),
            "Classes in a set": st.column_config.NumberColumn(format="%.2f", help="The mean size of the sets."),
        },
        height="content",
        alt="Coverage and mean size of the answer sets at each level",
    )
    if any(level.classes for level in levels.values()):
        left, right = st.columns(2, gap="large")
        with left:
            st.caption("How often a set contains the true class, by that class: of single classes nothing is promised.")
            _by_class(
                {n: {c: 100 * held for c, held in level.class_coverage.items()} for n, level in levels.items()},
                "%.1f %%", "Coverage of the answer sets by class and level",
            )  # fmt: skip
        with right:
            st.caption("Classes in a set, by true class: the larger, the harder the class.")
            sizes = {n: level.classes for n, level in levels.items()}
            _by_class(sizes, "%.2f", "Mean size of the answer sets by class and level")


def _by_class(values: dict[int, dict[str, float]], number: str, alt: str) -> None:
    """A table of a number for each class and level."""
    st.dataframe(
        {"Class": list(CLASS_NAMES)} | {f"{n} %": [of.get(name) for name in CLASS_NAMES] for n, of in values.items()},
        hide_index=True,
        column_config={f"{n} %": st.column_config.NumberColumn(format=number) for n in values},
        height="content",
        alt=alt,
    )
