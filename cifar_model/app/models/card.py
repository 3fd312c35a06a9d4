"""Everything on the card."""

import json

import streamlit as st

from cifar_model.app.models.words import show_missing
from cifar_model.app.shared.discreet import hide_paths
from cifar_model.trust.report import Report


def show_card(reports: list[Report]) -> None:
    """The command that repeats a training, and the card itself, to look at and to take along."""
    st.caption(
        "A model's card is written when its training ends: settings, data, seed, versions, scores. "
        "The command repeats the training."
    )
    for report in reports:
        if not report.card:
            show_missing(report, "Its card")
            continue
        stored = hide_paths(report.card.stored)
        if report.card.command:
            st.code(hide_paths(report.card.command), "shell", wrap_lines=True)
        st.download_button(
            f"Card of {report.name} (JSON)", json.dumps(stored, indent=2), f"{report.name}-card.json",
            "application/json", icon=":material/download:", on_click="ignore", key=f"models_card_{report.name}",
        )  # fmt: skip
        st.json(stored, expanded=1)
