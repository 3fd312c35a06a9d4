"""What can be asked of a run: pause, another rate, stop, resume."""

from __future__ import annotations

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.discreet import discreet
from cifar_model.app.shared.owner import SOMEBODY_ELSES, check_mine, is_mine, why_not_resume
from cifar_model.app.train.shown import show
from cifar_model.app.train.words import EXPLAIN
from cifar_model.errors import LabError, RunError
from cifar_model.runs import start
from cifar_model.runs.change import request
from cifar_model.runs.read import RunInfo, live_here, max_runs, read_run
from cifar_model.training.settings import LIMITS


def show_controls(run: RunInfo) -> None:
    if not is_mine(run):
        st.badge("somebody else's", icon=":material/lock:", color="gray", help=SOMEBODY_ELSES)
        if not run.is_live:
            st.button("Close", icon=":material/close:", on_click=show, args=(None,), key="train_close")
        return
    refused = why_not_resume()
    if run.state in ("running", "starting"):
        early = run.state == "starting"
        st.button("Pause", icon=":material/pause:", on_click=_request, args=(run.name, "pause"), disabled=early)
    if run.state == "paused":
        st.button(
            "Resume", icon=":material/play_arrow:", on_click=_request, args=(run.name, "resume"), key="train_go_on",
            disabled=bool(refused), help=refused or None,
        )  # fmt: skip
    if run.state in ("running", "paused"):
        with st.popover("Learning rate", icon=":material/tune:"):
            _rate_form(run)
    if run.is_live:
        st.button("Stop", icon=":material/stop:", on_click=ask, args=("stop", run.name), key="train_stop")
        return
    if run.can_resume:
        st.button(
            "Continue", icon=":material/play_arrow:", on_click=_resume, args=(run.name,), key="train_resume",
            disabled=bool(refused), help=refused or None,
        )  # fmt: skip
    if run.state == "failed" and run.can_resume and not refused:  # it may have lost its way
        with st.popover("Another learning rate", icon=":material/tune:"):
            _again_form(run)
    if run.state == "finished" and not refused:
        with st.popover("More epochs", icon=":material/add:"):
            _epochs_form(run)
    st.button("Close", icon=":material/close:", on_click=show, args=(None,), key="train_close")


def _request(name: str, action: str, value: float | None = None) -> None:
    """Leave a request, and wait a moment so that the page's next look shows its effect."""
    try:
        _check(name, goes_on=action == "resume")
        if not request(name, action, value, wait=0.8):
            st.toast("Takes effect after the current step.", icon=":material/hourglass_empty:")
    except LabError as error:
        st.toast(discreet(str(error)), icon=":material/error:")
    resources.look_again()


def _resume(name: str, epochs: int | None = None, learning_rate: float | None = None) -> None:
    try:
        _check(name, goes_on=True)
        queue = len(live_here()) >= max_runs()
        start.resume_run(name, epochs=epochs, learning_rate=learning_rate, queue=queue)
    except LabError as error:
        st.toast(discreet(str(error)), icon=":material/error:")
    resources.look_again()


def _check(name: str, *, goes_on: bool) -> None:
    """RunError where this visitor may not do that: a browser can send what no button offers."""
    check_mine(read_run(name))
    if goes_on and (refused := why_not_resume()):
        raise RunError(refused)


def _rate_form(run: RunInfo) -> None:
    rate = _rate(run, run.progress.get("learning_rate") or run.settings.get("learning_rate", 0.001))
    st.caption("From the next step; the recipe's schedule continues from there.")
    if st.button("Set", key="train_set_rate", type="primary"):
        _request(run.name, "set-lr", rate)


def _again_form(run: RunInfo) -> None:
    rate = _rate(run, run.settings.get("learning_rate", 0.001) / 3)
    st.caption("Continues from its last finished epoch.")
    st.button("Continue at this rate", type="primary", on_click=_resume, args=(run.name, None, rate), key="train_again")


def _rate(run: RunInfo, proposed: float) -> float:
    low, high = LIMITS["learning_rate"]
    return st.number_input(
        "New learning rate", low, high, min(high, max(low, float(f"{proposed:.3g}"))), format="%g",
        step=max(low, float(f"{proposed / 10:.1g}")), help=EXPLAIN["learning_rate"], key=f"train_rate_{run.name}",
    )  # fmt: skip


def _epochs_form(run: RunInfo) -> None:
    done, high = int(run.status.get("epoch", 0)), LIMITS["epochs"][1]
    if done >= high:
        st.caption(f"It has trained {done} epochs: more are not allowed.")
        return
    epochs = st.number_input(
        "Epochs in all", done + 1, high, max(done + 1, min(high, 2 * done)), help=EXPLAIN["epochs"],
        key=f"train_more_{run.name}",
    )  # fmt: skip
    st.caption(f"{done} are done. The recipe's schedule is stretched over all of them.")
    st.button("Add epochs", type="primary", on_click=_resume, args=(run.name, epochs), key="train_more_start")


def ask(question: str | None, name: str = "") -> None:
    """Open a dialog about a run, or close it (None); it stays open while the page behind it is redrawn."""
    st.session_state["train_question"] = (question, name)


@st.dialog("Stop this run?", on_dismiss=lambda: ask(None))
def stop_dialog(name: str) -> None:
    """Ask whether to stop, and stop."""
    st.markdown(f"**{name}** ends now. Its best model so far is kept and can be used; the run can be continued later.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep training", key="train_stop_no"):
            ask(None)
            st.rerun()
        if st.button("Stop", type="primary", key="train_stop_yes"):
            ask(None)
            _request(name, "stop")
            st.rerun()
