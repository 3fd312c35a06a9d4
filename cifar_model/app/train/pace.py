"""How often a page looks at a run that trains: less often where many watch."""

import time

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

LIVE_SECONDS = 0.5  # between two looks; for every `CROWD` who watch already, as much again
CROWD = 4
MOST_SECONDS = 2.0
LOOKED_SECONDS = 10.0  # after which somebody who has not looked no longer watches


@st.cache_resource(show_spinner=False)
def _looks() -> dict[str, float]:
    """When each visitor last looked."""
    return {}


def note_look() -> None:
    """This visitor watches."""
    if context := get_script_run_ctx(suppress_warning=True):
        _looks()[context.session_id] = time.monotonic()


def seconds_between_looks() -> float:
    """For a page that is drawn now: half a second, more for those who come to a crowd."""
    looks, since = _looks(), time.monotonic() - LOOKED_SECONDS
    for visitor, moment in list(looks.items()):
        if moment < since:
            looks.pop(visitor, None)
    context = get_script_run_ctx(suppress_warning=True)
    others = len(looks) - (context is not None and context.session_id in looks)
    return min(MOST_SECONDS, LIVE_SECONDS * (1 + others // CROWD))
