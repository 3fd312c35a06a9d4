"""Mounting a browser component: its folder here holds its .js, .css and .html."""

import time
from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent


def component(name: str):
    """A browser component: the base, then NAME/NAME.js with NAME.css and NAME.html where there are any.

    Returns a function of key, data and callbacks that mounts it; the script gets the data in a list of one. The data
    carries the time of its last change: Streamlit's front end may deliver the first two states of a component in the
    wrong order, and base.js leaves out what is older than what is shown.
    """

    def read(name: str, suffix: str) -> str:
        path = _FOLDER / name / f"{name}{suffix}"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    mount = st.components.v2.component(
        f"cifar_lab.{name}",
        html=read(name, ".html") or '<div class="root"></div>',
        css=read("base", ".css") + read(name, ".css"),
        js=read("base", ".js") + read(name, ".js"),
    )

    def place(*, key: str, data: dict, **callbacks) -> None:
        before, changed = st.session_state.get(f"shown_{key}", (None, 0))
        if data != before:
            changed = max(changed + 1, time.time_ns() // 1000)
            st.session_state[f"shown_{key}"] = data, changed
        # In a list: a dict's values Streamlit examines for data frames, and imports pandas for it, half a second.
        mount(key=key, data=[data | {"changed": changed}], **callbacks)

    return place
