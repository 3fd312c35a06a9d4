"""What a link to Models says: the models, and a cell of the confusion matrix."""

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.classes import CLASS_NAMES

OPENED = "models_opened"  # session key: (gallery, test picture) that a visitor looks at closely
CELL = "models_cell"  # session key: (truth, answer) of the confusion matrix


def read_link() -> None:
    """Take the models and the cell of the confusion matrix from ?model=lab-net,seed-cnn&cell=cat-dog."""
    link, state = st.query_params.to_dict(), st.session_state
    if not link or link == state.get("models_link"):
        return
    state["models_link"] = link
    if "model" in link:
        known = {model.name for model in resources.models()}
        wanted = list(dict.fromkeys(link["model"].split(",")))
        if len(wanted) <= 2 and known.issuperset(wanted):
            state["model"], state["second_model"] = (*wanted, None)[:2]
        else:
            st.warning("The link names a model that isn't here; the usual one is shown.", icon=":material/link_off:")
    truth, _, answer = link.get("cell", "").partition("-")
    if {truth, answer} <= set(CLASS_NAMES):
        state[CELL] = (CLASS_NAMES.index(truth), CLASS_NAMES.index(answer))


def write_models_link(**parts: str) -> None:
    link = st.query_params.to_dict() | parts
    if link != st.query_params.to_dict():
        st.query_params.from_dict(link)
    st.session_state["models_link"] = link
