"""Choices that a visit remembers from page to page, wherever they were made: a widget, a link, another page."""

import streamlit as st


def enter(page: str) -> None:
    """Note which page is drawn: a widget of the same key is another one there, with nothing of the first."""
    number, before = st.session_state.get("page_entered", (0, None))
    if before != page:
        st.session_state["page_entered"] = number + 1, page


def remember(key: str, value) -> None:
    """Set a choice from outside its widget, before that is drawn."""
    _kept()[key] = value
    if not _is_new(key):
        st.session_state[key] = value


def remembered(key: str, default=None):
    """A choice as it was last made; `default` before that."""
    return _kept().get(key, default) if _is_new(key) else st.session_state.get(key, default)


def kept_widget(widget, *arguments, key: str, default=None, **options):
    """Draw a widget that has its choice remembered, although Streamlit forgets those of another page.

    What was chosen before is its default, not a value set from here: a value set would be lost on the way to a
    widget that the browser mounts later, such as one in a popover that is still closed.
    """
    starts = _starts()
    if _is_new(key):
        st.session_state.pop(key, None)
        starts[key] = _visit(), _kept().get(key, default)
    start = starts[key][1]
    if widget is st.selectbox:
        choices = arguments[1]
        options["index"] = choices.index(start) if start in choices else options.get("index", 0)
    else:
        options["value" if widget is st.toggle else "default"] = start
    _kept()[key] = value = widget(*arguments, key=key, **options)
    return value


def forget(key: str) -> None:
    """Let a choice fall back to its default."""
    for place in (_kept(), _starts(), st.session_state):
        place.pop(key, None)


def _is_new(key: str) -> bool:
    return key not in st.session_state or _starts().get(key, (None,))[0] != _visit()


def _visit() -> int:
    return st.session_state.get("page_entered", (0, None))[0]


def _starts() -> dict:
    """Of each widget drawn: on which visit to a page, and with which choice it began there."""
    return st.session_state.setdefault("remembered_starts", {})


def _kept() -> dict:
    return st.session_state.setdefault("remembered", {})
