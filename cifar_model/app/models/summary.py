"""The few figures that matter most, and the card in plain words."""

import numpy as np
import streamlit as st

from cifar_model.app.models.words import show_metric, show_missing
from cifar_model.classes import CLASS_NAMES
from cifar_model.text import escape_markdown, share
from cifar_model.trust.report import Report


def show_summary(report: Report, *, alone: bool) -> None:
    """The few figures that matter most."""
    if not alone:
        st.subheader(report.name, anchor=False)
    with st.grid(4 if alone else 2, min_column_width=140):
        margin = f"± {100 * report.margin:.1f} points" if report.margin else None
        show_metric(
            "Test accuracy", report.accuracy and share(report.accuracy), margin,
            "The share of test images that it classifies correctly; it never trained on them. On another test set of "
            "this size the figure would lie within ± this (95 % confidence). Guessing would get 10 %.",
        )  # fmt: skip
        worst, name = commonest_mistake(report)
        show_metric(
            "Most common mistake", name, worst and f"{worst[2]} of {worst[3]:,}",
            "The true class, the class that it predicts instead, and how often.",
        )  # fmt: skip
        when = _when_it_says_80(report)
        show_metric(
            f"Accuracy at {share(when[0], 0)} confidence" if when else "Accuracy at 80 % confidence",
            when and share(when[1], 0),
            "equal is best",
            "Of the answers that it gives with about this percentage, so many are correct.",
        )
        validation = report.score("validation_accuracy")
        put_aside = "of synthetic images" if report.is_distilled else "of held-out images"
        show_metric(
            "Validation accuracy", validation and share(validation), put_aside,
            "Accuracy on images held out from training, by which the best epoch was chosen.",
        )  # fmt: skip
    if report.is_epoch:
        show_missing(report, "The accuracy of this epoch")
    elif report.accuracy is None and not report.problems:
        show_missing(report, "Its test accuracy")


def show_sentences(report: Report) -> None:
    """The card in plain words."""
    st.markdown(escape_markdown(" ".join(report.sentences())))


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
