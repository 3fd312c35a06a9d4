"""Files that a component fetches by itself, when it needs them."""

from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).parent


def served(name: str, folder: Path) -> str:
    """Let browsers fetch all that lies in `folder`; returns its address, relative to the app's own.

    Streamlit's only way to serve files as they are, scripts included, to a project that is not an installed package:
    the files of a component of the older kind, which is never mounted.
    """
    return f"component/{st.components.v1.declare_component(name, path=str(folder)).name}/"
