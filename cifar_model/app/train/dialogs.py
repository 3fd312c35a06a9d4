"""The questions about a run: stop, rename, delete."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from cifar_model.app.shared.owner import check_mine
from cifar_model.app.shared.page import show_error
from cifar_model.app.train.controls import ask, stop_dialog
from cifar_model.app.train.shown import show
from cifar_model.errors import LabError
from cifar_model.runs.change import delete, rename
from cifar_model.runs.names import MAX_NAME_LENGTH
from cifar_model.runs.read import read_run


def open_dialog() -> None:
    """The question that is open, if any."""
    question, name = st.session_state.get("train_question", (None, ""))
    if question:
        {"stop": stop_dialog, "rename": _rename_dialog, "delete": _delete_dialog}[question](name)


@st.dialog("Rename this run", on_dismiss=lambda: ask(None))
def _rename_dialog(name: str) -> None:
    new = st.text_input("New name", name, max_chars=MAX_NAME_LENGTH, key="train_new_name").strip()
    if st.button("Rename", type="primary", key="train_rename_yes"):
        _finish(name, new, rename, name, new)


@st.dialog("Delete this run?", on_dismiss=lambda: ask(None))
def _delete_dialog(name: str) -> None:
    st.markdown(f"**{name}** with its model, curves and log will be deleted for good.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="train_delete_no"):
            ask(None)
            st.rerun()
        if st.button("Delete", type="primary", key="train_delete_yes"):
            _finish(name, None, delete, name)


def _finish(name: str, becomes: str | None, action: Callable[..., None], *arguments: str) -> None:
    """Do it and close the dialog, or say in the dialog why it can't be done."""
    try:
        check_mine(read_run(name))
        action(*arguments)
    except LabError as error:
        show_error(error)
        return
    if st.session_state.get("train_run") == name:
        show(becomes)
    ask(None)
    st.rerun()
