"""The few numbers that matter most, and the card in plain words."""

import numpy as np
import streamlit as st

from cifar_model.app.models.words import plain_text, show_metric, show_missing
from cifar_model.classes import CLASS_NAMES
from cifar_model.trust.report import Report


def show_summary(report: Report, *, alone: bool) -> None:
    """The few numbers that matter most, and the card in plain words."""
    if not alone:
        st.subheader(report.name, anchor=False)
    with st.grid(4 if alone else 2, min_column_width=150):
        margin = f"± {100 * report.margin:.1f} points" if report.margin else None
        show_metric(
            "Right answers", report.accuracy and f"{100 * report.accuracy:.1f} %", margin,
            "Test accuracy: the share of right answers on pictures that it never learned from. Another set of as many "
            "pictures would give a number within ± this (95 % confidence).",
        )  # fmt: skip
        worst, name = commonest_mistake(report)
        show_metric(
            "Top mistake", name, worst and f"{worst[2]} of {worst[3]:,}",
            "The wrong answer that it gives most often, and how often.",
        )  # fmt: skip
        when = _when_it_says_80(report)
        show_metric(
            f"When it says {100 * when[0]:.0f} %" if when else "When it says 80 %",
            when and f"{100 * when[1]:.0f} %",
            "is it right",
            "Of the answers that it gives with about this percentage, so many are right. Equal is best.",
        )
        validation = report.score("validation_accuracy")
        put_aside = "of synthetic pictures" if report.is_distilled else "held-out pictures"
        show_metric(
            "Validation", validation and f"{100 * validation:.1f} %", put_aside,
            "Right answers on training pictures put aside, by which the best epoch was chosen.",
        )  # fmt: skip
    st.markdown(plain_text(" ".join(report.sentences())))
    if report.is_epoch:
        show_missing(report, "What this one epoch scores")
    elif report.accuracy is None and not report.problems:
        show_missing(report, "How often it is right on test pictures")


def commonest_mistake(report: Report) -> tuple[tuple[int, int, int, int] | None, str | None]:
    """(truth, answer, times, of) of the commonest mistake, and its name."""
    if report.confusion is None:
        return None, None
    wrong = report.confusion * (1 - np.eye(10, dtype=np.int64))
    truth, answer = (int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
    if not wrong[truth, answer]:
        return None, None
    found = (truth, answer, int(wrong[truth, answer]), int(report.confusion[truth].sum()))
    return found, f"{CLASS_NAMES[truth]} → {CLASS_NAMES[answer]}"


def _when_it_says_80(report: Report) -> tuple[float, float] | None:
    """How sure, and how often right, in the group of answers nearest to 80 %."""
    if report.bins is None:
        return None
    sure, right, _ = min(report.bins, key=lambda row: abs(row[0] - 0.8))
    return (float(sure), float(right)) if abs(sure - 0.8) < 0.15 else None
