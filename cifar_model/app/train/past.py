"""The runs so far, in a table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.owner import SOMEBODY_ELSES, is_mine, is_owner
from cifar_model.app.shared.page import guarded
from cifar_model.app.train.compare import compare_runs
from cifar_model.app.train.controls import ask
from cifar_model.app.train.disk import disk_use
from cifar_model.app.train.shown import show
from cifar_model.app.train.words import EXPLAIN, STATES
from cifar_model.data.sources import MINI
from cifar_model.runs.read import RunInfo
from cifar_model.storage import runs_dir, temporary_folder
from cifar_model.text import duration

TABLE_SECONDS = 5.0  # between two looks at the numbers of runs that train


def past_runs() -> None:
    """All runs in a table; two or more compared; one opened, renamed or deleted."""
    found = resources.runs()
    st.header("Runs", anchor=False)
    if is_owner() and runs_dir().is_relative_to(temporary_folder()):
        st.warning(
            f"Your home folder can't be written to: runs are kept in `{runs_dir()}`, where a restart of the "
            "machine may delete them. Set `CIFAR_LAB_RUNS` to a folder that stays.",
            icon=":material/folder_off:",
        )
    if not found:
        st.caption("None yet. Each training is kept here, with its curves, settings and model.")
        return
    some_live = any(run.is_live for run in found)
    st.fragment(_table, run_every=TABLE_SECONDS if some_live else None)()
    names = [run.name for run in found]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Run", names, width=260, key="train_chosen")
        run = found[names.index(name)]
        st.button("Open", icon=":material/open_in_full:", on_click=show, args=(name,), key="train_open")
        hint = SOMEBODY_ELSES if not is_mine(run) else "Stop it first." if run.is_live else None
        for question, label, icon in (
            ("rename", "Rename", ":material/edit:"),
            ("delete", "Delete", ":material/delete:"),
        ):
            st.button(
                label, icon=icon, disabled=hint is not None, help=hint, on_click=ask, args=(question, name),
                key=f"train_{question}",
            )  # fmt: skip
    compare_runs(found)
    disk_use()


@guarded()
def _table() -> None:
    """The numbers of runs that train change in place."""
    found = resources.runs()
    st.dataframe(
        [_table_row(run) for run in found],
        hide_index=True,
        column_config={
            "Validation": st.column_config.NumberColumn(format="percent", help=EXPLAIN["validation"]),
            "Test": st.column_config.NumberColumn(format="percent", help=EXPLAIN["test"]),
            "Started": st.column_config.DatetimeColumn(format="calendar"),
        },
        height="content" if len(found) <= 8 else 330,
        placeholder="–",
        alt="Table of the runs: state, network, recipe, epochs, accuracies, time",
        key="train_table",
    )


def _table_row(run: RunInfo) -> dict[str, Any]:
    history, settings = run.history, run.settings
    return {
        "Run": run.name,
        "State": STATES[run.state][0],
        "Network": settings.get("network", ""),
        "Recipe": settings.get("recipe", ""),
        "Images": "distilled" if settings.get("data") == MINI else "CIFAR-10",
        "Epochs": f"{len(history)} of {settings.get('epochs', '?')}",
        "Validation": max(run.column("val_accuracy"), default=None),
        "Test": run.test_accuracy,
        "Trained for": duration(sum(run.column("seconds"))) if history else "",
        "Started": datetime.fromtimestamp(int(run.created)),
    }
