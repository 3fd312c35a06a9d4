"""The panel of one run: its state, its controls, what it shows live, what it leaves."""

from __future__ import annotations

import streamlit as st

from cifar_model.app.shared.discreet import discreet
from cifar_model.app.train.controls import show_controls
from cifar_model.app.train.live import show_live
from cifar_model.app.train.pace import seconds_between_looks
from cifar_model.app.train.results import show_results
from cifar_model.app.train.shown import live_states
from cifar_model.app.train.words import STATES, fenced
from cifar_model.data.distilled import TEST_SET, mini_score
from cifar_model.data.sources import MINI
from cifar_model.runs.read import RunInfo
from cifar_model.text import escape_markdown, share


def run_panel(run: RunInfo) -> None:
    """One run: its state, its numbers and curves as they come, its guesses, and what can be done with it."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(run.name, anchor=False, width="content")
            label, color, icon = STATES[run.state]
            st.badge(label, color=color, icon=icon)
            st.space("stretch")
            show_controls(run)
        if run.state in ("failed", "interrupted"):
            st.error(fenced(discreet(run.message or "No reason is known.")), icon=":material/error:")
        if doubts := run.status.get("doubts"):
            st.warning(escape_markdown(str(doubts)), icon=":material/warning:")
        if run.settings.get("data") == MINI:
            st.caption(_of_mini(run.settings.get("network", "")))
        look = st.fragment(show_live, run_every=seconds_between_looks() if run.is_live else None)
        look(run.name, run.state, run.has_model, live_states())
        show_results(run)


def _of_mini(network: str) -> str:
    """What to know of a run on the distilled images."""
    line = ":material/science: Trains on **distilled images**; its validation images are synthetic too."
    line += " Its percentages are not calibrated: that takes real photographs."
    if score := mini_score(network):
        line += f" Trained so, {network} classifies {share(score[0], 0)} of the {TEST_SET} correctly."
    return line
