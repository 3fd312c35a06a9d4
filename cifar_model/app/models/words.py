"""What several sections of Models say alike."""

import streamlit as st

from cifar_model.text import escape_markdown
from cifar_model.trust.report import Report


def show_metric(label: str, value: str | None, below: str | None, explained: str) -> None:
    st.metric(label, value or "–", below if value else None, delta_color="off", delta_arrow="off", help=explained)


def show_missing(report: Report, what: str) -> None:
    """Say that something isn't known of this model, and how to get it."""
    name = escape_markdown(report.name)
    if report.is_epoch:
        run = report.name.partition("@")[0]
        how = f"It is measured for a run's best epoch alone: choose “Best epoch” of **{escape_markdown(run)}** above."
    elif not report.card:
        how = f"{name} has no card that can be read. A card is written when a training ends."
    elif report.is_imported:
        how = (
            f"{name} was brought in. What is fitted or judged on images that a model has never seen can't be had for "
            "it, since nobody knows which it has seen."
            if report.accuracy is not None
            else f"{name} was brought in where CIFAR-10 is not at hand. Bring it in again where it is."
        )
    elif report.is_distilled:
        how = (
            f"{name} was trained on the distilled images that ship with this project; its accuracy on photographs was "
            "not measured. Train on CIFAR-10 for that."
        )
    else:
        how = f"{name} was trained before this was measured, or its training has not ended. With CIFAR-10 at hand: "
        how += f"`python -m cifar_model assess {report.name}`"
    st.info(f"{what} isn't known. {how}", icon=":material/info:")
