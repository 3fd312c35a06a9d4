"""A picture that is taken along from another page to Classify."""

import uuid
from dataclasses import dataclass

import streamlit as st


@dataclass(frozen=True)
class Taken:
    """A picture's file as it came, what to call it, and an id that no other picture has."""

    id: str
    name: str
    data: bytes


def take_to_classify(name: str, data: bytes) -> None:
    """Open Classify with a picture's file."""
    st.session_state["taken"] = Taken(f"taken-{uuid.uuid4().hex}", name, data)
    st.switch_page("pages/classify.py")


def take_in() -> Taken | None:
    """The picture that has just been taken along, once."""
    return st.session_state.pop("taken", None)
