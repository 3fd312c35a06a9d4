"""A sweep as one thing: its trials by accuracy, what a setting does, the best curves."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.options import use_model
from cifar_model.app.shared.page import guarded
from cifar_model.app.train.compare import CURVE_COLORS, validation_curves
from cifar_model.app.train.shown import show
from cifar_model.app.train.words import CHART_HEIGHT, EXPLAIN, IDLE_SECONDS, STATES
from cifar_model.runs.read import RunInfo
from cifar_model.runs.sweeps import Sweep, in_words, list_sweeps, validation_accuracy, value_in_words
from cifar_model.text import share

_LISTED, _OPENED = "train_sweep_listed", "train_sweep_opened"  # session keys: the table's runs; one was opened


def sweeps_section() -> None:
    """The newest sweep, or the one that is chosen; nothing where there is none."""
    sweeps = {sweep.name: sweep for sweep in list_sweeps(resources.runs())}
    if not sweeps:
        return
    if st.session_state.get("train_sweep") not in sweeps:  # its last run was deleted
        st.session_state.pop("train_sweep", None)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header("Sweeps", anchor=False, width="content")
        name = st.selectbox("Sweep", list(sweeps), width=260, key="train_sweep", label_visibility="collapsed")
    st.fragment(_show_sweep, run_every=IDLE_SECONDS if sweeps[name].is_live else None)(name, sweeps[name].is_live)


@guarded()
def _show_sweep(name: str, was_live: bool) -> None:
    """What changes while its runs train; the table's order too."""
    sweep = next((sweep for sweep in list_sweeps(resources.runs()) if sweep.name == name), None)
    if st.session_state.pop(_OPENED, False) or sweep is None or sweep.is_live != was_live:
        st.rerun()
    learned = [run for run in sweep.ranked if run.history]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(_summary(sweep), width="stretch")
        best = sweep.best
        if st.button(
            "Use the best on Classify", icon=":material/image_search:", disabled=best is None or not best.has_model,
            key="train_sweep_use",
        ):  # fmt: skip
            resources.look_again()  # the network may have been written this second
            use_model(best.name)
            st.switch_page("pages/classify.py")
    _table(sweep)
    if not learned:
        return
    with st.grid(2, min_column_width=320):
        with st.container(gap="xxsmall"):
            _setting(sweep, learned)
        shown = learned[: len(CURVE_COLORS)]
        validation_curves(
            shown, "val_accuracy", "Validation accuracy" + f" of the best {len(shown)}" * (len(shown) > 1)
        )


def _summary(sweep: Sweep) -> str:
    states = [run.state for run in sweep.runs]
    waiting = states.count("queued")
    training = sum(run.is_live for run in sweep.runs) - waiting
    parts = [f"**{len(states) - waiting - training} of {len(states)}** trainings are over"]
    parts += [f"{count} {what}" for count, what in ((training, "under way"), (waiting, "waiting")) if count]
    if best := sweep.best:
        parts.append(
            f"best so far: **{best.name}**, {share(validation_accuracy(best))} "
            f"({in_words(best.settings, sweep.varied)})"
        )
    return " · ".join(parts)


def _table(sweep: Sweep) -> None:
    ranked = sweep.ranked
    st.session_state[_LISTED] = [run.name for run in ranked]
    st.dataframe(
        [_row(run, sweep.varied) for run in ranked],
        hide_index=True,
        column_config={
            "Validation": st.column_config.NumberColumn(format="percent", help=EXPLAIN["validation"]),
            "Test": st.column_config.NumberColumn(format="percent", help=EXPLAIN["test"]),
        },
        height="content" if len(ranked) <= 8 else 330,
        placeholder="–",
        on_select=_open,
        selection_mode="single-row",
        alt=f"Table of the runs of {sweep.name} by validation accuracy; a row that is selected opens its run above",
        key="train_sweep_table",
    )


def _open() -> None:
    """Show the run of the row that was selected."""
    rows = st.session_state["train_sweep_table"].selection.rows
    names = st.session_state.get(_LISTED, [])
    if rows and rows[0] < len(names):
        show(names[rows[0]])
        st.session_state[_OPENED] = True


def _row(run: RunInfo, varied: tuple[str, ...]) -> dict[str, Any]:
    return {
        "Run": run.name,
        "Validation": validation_accuracy(run),  # what they are sorted by, also in sight on a phone
        "State": STATES[run.state][0],
        **{_title(field): value_in_words(run.settings[field]) for field in varied},
        "Epochs": f"{len(run.history)} of {run.settings.get('epochs', '?')}",
        "Test": run.test_accuracy,
    }


def _title(field: str) -> str:
    return field.replace("_", " ").capitalize()


def _setting(sweep: Sweep, learned: list[RunInfo]) -> None:
    """Accuracy over one of the settings that vary."""
    if not sweep.varied:
        return
    st.markdown("**What a setting does**", help=EXPLAIN["setting"])
    setting = sweep.varied[0]
    if len(sweep.varied) > 1:
        setting = st.segmented_control(
            "Setting", sweep.varied, default=setting, format_func=_title, required=True, label_visibility="collapsed",
            key=f"train_sweep_setting_{sweep.name}",
        )  # fmt: skip
    import pandas as pd  # half a second

    frame = pd.DataFrame(
        {field: [run.settings[field] for run in learned] for field in sweep.varied}
        | {"run": [run.name for run in learned], "state": [STATES[run.state][0] for run in learned]}
        | {"accuracy": [validation_accuracy(run) for run in learned]}
    )
    st.vega_lite_chart(spec=resources.chart("setting", frame, setting), width="stretch", height=CHART_HEIGHT)
