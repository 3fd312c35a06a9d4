"""The Train page's runs so far: a table, curves and settings compared, one opened, renamed or deleted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from cifar_model import models, runs
from cifar_model.dataset import MINI
from cifar_model.errors import LabError
from cifar_model.files import temporary_folder
from cifar_model.ui.components import guarded
from cifar_model.ui.training import CHART_HEIGHT, EXPLAIN, IDLE_SECONDS, STATES, ask, duration, show, stop_dialog

CURVE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def past_runs() -> None:
    """All runs in a table; two or more compared; one opened, renamed or deleted."""
    found = runs.list_runs()
    st.header("Runs so far", anchor=False)
    if models.runs_dir().is_relative_to(temporary_folder()):
        st.warning(
            f"Your home folder can't be written to: runs are kept in `{models.runs_dir()}`, where a restart of the "
            "machine may delete them. Set `CIFAR_LAB_RUNS` to a folder that stays.",
            icon=":material/folder_off:",
        )
    if not found:
        st.caption("None yet. What you train is kept here, with its curves, settings and model.")
        return
    some_live = any(run.is_live for run in found)
    st.fragment(_table, run_every=IDLE_SECONDS if some_live else None)()
    names = [run.name for run in found]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Run", names, width=260, key="train_chosen")
        run = found[names.index(name)]
        st.button("Open", icon=":material/open_in_full:", on_click=show, args=(name,), key="train_open")
        hint = "Stop it first." if run.is_live else None
        for question, label, icon in (
            ("rename", "Rename", ":material/edit:"),
            ("delete", "Delete", ":material/delete:"),
        ):
            st.button(
                label, icon=icon, disabled=run.is_live, help=hint, on_click=ask, args=(question, name),
                key=f"train_{question}",
            )  # fmt: skip
    _compare(found)


@guarded()
def _table() -> None:
    """The numbers of runs that train change in place."""
    found = runs.list_runs()
    st.dataframe(
        pd.DataFrame([_table_row(run) for run in found]),
        hide_index=True,
        column_config={
            "Validation": st.column_config.NumberColumn(format="percent", help=EXPLAIN["validation"]),
            "Test": st.column_config.NumberColumn(format="percent", help=EXPLAIN["test"]),
            "Started": st.column_config.DatetimeColumn(format="calendar"),
        },
        height="content" if len(found) <= 8 else 330,
        placeholder="–",
        alt="Table of the runs so far: state, network, recipe, epochs, accuracies, time",
        key="train_table",
    )


def _table_row(run: runs.RunInfo) -> dict[str, Any]:
    history, settings = run.history, run.settings
    try:
        scores = models.load_card(run.path).get("scores", {})
    except LabError:
        scores = {}
    return {
        "Run": run.name,
        "State": STATES[run.state][0],
        "Network": settings.get("network", ""),
        "Recipe": settings.get("recipe", ""),
        "Pictures": "distilled" if settings.get("data") == MINI else "CIFAR-10",
        "Epochs": f"{len(history)} of {settings.get('epochs', '?')}",
        "Validation": history["val_accuracy"].max() if len(history) else None,
        "Test": scores.get("test_accuracy"),
        "Trained for": duration(history["seconds"].sum()) if len(history) else "",
        "Started": pd.Timestamp(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.created))),
    }


def _compare(found: list[runs.RunInfo]) -> None:
    learned = {run.name: run for run in found if len(run.history)}
    if len(learned) < 2:
        return
    st.subheader("Compare", anchor=False)
    if "train_compare" in st.session_state:  # a run may have been deleted or renamed since
        kept = [name for name in st.session_state["train_compare"] if name in learned]
        st.session_state["train_compare"] = kept
    else:
        st.session_state["train_compare"] = list(learned)[:3]
    names = st.multiselect("Runs to compare", list(learned), key="train_compare", max_selections=len(CURVE_COLORS))
    if not names:
        return
    frame = pd.concat([learned[name].history.assign(run=name) for name in names])
    with st.grid(2, min_column_width=320):
        for column, title in (("val_accuracy", "Validation accuracy"), ("val_loss", "Validation loss")):
            with st.container(gap="xxsmall"):
                st.markdown(f"**{title}**", help=EXPLAIN["validation"])
                ends = ", ".join(f"{name} {learned[name].history[column].iloc[-1]:.3g}" for name in names)
                st.vega_lite_chart(
                    frame[["epoch", column, "run"]],
                    _overlay_spec(column, names),
                    alt=f"{title} by epoch. At the end: {ends}.",
                )
    table = pd.DataFrame({name: learned[name].settings for name in names}).map(str)
    differs = table.nunique(axis=1) > 1
    everything = len(names) < 2 or st.toggle("Show the settings that are equal too", key="train_all_settings")
    if everything or differs.any():
        st.dataframe(table if everything else table[differs])
    else:
        st.caption("Their settings are the same.")


def _overlay_spec(column: str, names: list[str]) -> dict[str, Any]:
    form = ".0%" if column == "val_accuracy" else ".1f"
    return {
        "height": CHART_HEIGHT,
        "mark": {"type": "line", "point": True, "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "title": "Epoch",
                "axis": {"tickMinStep": 1, "format": "d", "titlePadding": 4},
            },
            "y": {
                "field": column,
                "type": "quantitative",
                "title": None,
                "scale": {"zero": False},
                "axis": {"format": form},
            },
            "color": {
                "field": "run",
                "type": "nominal",
                "scale": {"domain": names, "range": list(CURVE_COLORS[: len(names)])},
                "legend": {"title": None, "orient": "top", "columns": 2, "labelLimit": 240, "offset": 6},
            },
            "tooltip": [
                {"field": "run", "title": "Run"},
                {"field": "epoch", "title": "Epoch"},
                {"field": column, "type": "quantitative", "title": "Value", "format": ".4f"},
            ],
        },
    }


def open_dialog() -> None:
    """The question that is open, if any."""
    question, name = st.session_state.get("train_question", (None, ""))
    if question:
        {"stop": stop_dialog, "rename": _rename_dialog, "delete": _delete_dialog}[question](name)


@st.dialog("Rename this run", on_dismiss=lambda: ask(None))
def _rename_dialog(name: str) -> None:
    new = st.text_input("New name", name, max_chars=runs.MAX_NAME_LENGTH, key="train_new_name").strip()
    if st.button("Rename it", type="primary", key="train_rename_yes"):
        _finish(name, new, runs.rename, name, new)


@st.dialog("Delete this run?", on_dismiss=lambda: ask(None))
def _delete_dialog(name: str) -> None:
    st.markdown(f"**{name}**, its model, curves and log are gone for good.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep it", key="train_delete_no"):
            ask(None)
            st.rerun()
        if st.button("Delete it", type="primary", key="train_delete_yes"):
            _finish(name, None, runs.delete, name)


def _finish(name: str, becomes: str | None, action: Callable[..., None], *arguments: str) -> None:
    """Do it and close the dialog, or say in the dialog why it can't be done."""
    try:
        action(*arguments)
    except LabError as error:
        st.error(str(error))
        return
    if st.session_state.get("train_run") == name:
        show(becomes)
    ask(None)
    st.rerun()
