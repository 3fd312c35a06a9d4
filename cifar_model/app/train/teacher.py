"""What the teacher can do on Train: give the code, pause and resume all training, stop it."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from cifar_model.app.shared.owner import ask_for_code, is_owner, teacher_code
from cifar_model.errors import LabError
from cifar_model.runs.change import request
from cifar_model.runs.hold import hold_all, is_held
from cifar_model.runs.read import live_runs
from cifar_model.runs.start import release_all


def teacher_box() -> None:
    """A box for the teacher where a code is set; nothing at all where none is."""
    if not teacher_code():
        return
    with st.popover("Teacher", icon=":material/school:"):
        if not is_owner():
            ask_for_code()
            return
        st.caption("You can change every run: stop it, pause it, rename or delete it.")
        if is_held():
            st.button("Resume all training", icon=":material/play_arrow:", on_click=_release, key="teacher_release")
        else:
            st.button("Pause all training", icon=":material/pause:", on_click=_hold, key="teacher_hold")
        live = bool(live_runs())
        st.button("Stop all runs", icon=":material/stop:", on_click=_stop, key="teacher_stop", disabled=not live)


def _hold() -> None:
    if is_owner():
        hold_all()


def _release() -> None:
    if is_owner():
        release_all()


def _stop() -> None:
    if not is_owner():
        return
    for run in reversed(live_runs()):  # those that wait first, or the next would start
        with suppress(LabError):  # it has ended by itself
            request(run.name, "stop")
