"""Choices that a visit remembers from page to page, wherever they were made: a widget, a link, another page."""

import streamlit as st


def enter(page: str) -> None:
    """Note which page is drawn: a widget of the same key is another one there, with nothing of the first."""
    if st.session_state.get("page_entered", (0, None))[1] != page:
        st.session_state["page_entered"] = st.session_state.get("page_entered", (0, None))[0] + 1, page


def remember(key: str, value) -> None:
    """Set a choice from outside its widget, before that is drawn."""
    _kept()[key] = value
    st.session_state[key] = value


def remembered(key: str, default=None):
    """A choice as it was last made; `default` before that."""
    return _kept().get(key, default) if _is_new(key) else st.session_state.get(key, default)


def kept_widget(widget, *arguments, key: str, default=None, **options):
    """Draw a widget that has its choice remembered, although Streamlit forgets those of another page."""
    if _is_new(key):
        st.session_state[key] = _kept().get(key, default)
        st.session_state.setdefault("remembered_drawn", {})[key] = _visit()
    _kept()[key] = value = widget(*arguments, key=key, **options)
    return value


def forget(key: str) -> None:
    """Let a choice fall back to its default."""
    _kept().pop(key, None)
    st.session_state.pop(key, None)


def _is_new(key: str) -> bool:
    drawn = st.session_state.get("remembered_drawn", {})
    return key not in st.session_state or drawn.get(key) != _visit()


def _visit() -> int:
    return st.session_state.get("page_entered", (0, None))[0]


def _kept() -> dict:
    return st.session_state.setdefault("remembered", {})
