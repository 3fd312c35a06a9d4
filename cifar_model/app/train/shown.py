"""Which run Train shows."""

from __future__ import annotations

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.discreet import discreet
from cifar_model.app.train.words import IDLE_SECONDS
from cifar_model.errors import LabError
from cifar_model.runs.read import RunInfo, live_runs, read_run


def show(name: str | None) -> None:
    """Make the page show this run; None: whatever trains."""
    st.session_state["train_run"] = name
    if name:
        st.query_params["run"] = name
    else:
        st.query_params.pop("run", None)


def shown_run() -> RunInfo | None:
    """The run in the address, or chosen before, or the one that trains; None if there is none of these."""
    name = st.query_params.get("run") or st.session_state.get("train_run")
    if name:
        try:
            run = read_run(name)
        except LabError as error:
            show(None)
            st.warning(discreet(str(error)))
        else:
            show(name)
            return run
    live = live_runs(resources.runs())
    if not live:
        return None
    show(live[0].name)  # it stays when it ends
    return live[0]


def watch() -> None:
    """Redraw the page when somebody else starts, stops or queues a run; a run that trains is looked at anyway."""
    st.fragment(_watch, run_every=IDLE_SECONDS)(live_states())


def live_states() -> list[tuple[str, str]]:
    """Name and state of every run at work, as a page last saw them."""
    return [(run.name, run.state) for run in live_runs(resources.runs())]


def _watch(before: list[tuple[str, str]]) -> None:
    if live_states() != before:
        st.rerun()
