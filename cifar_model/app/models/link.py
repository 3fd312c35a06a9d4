"""What a link to Models says: the question, and a cell of the confusion matrix; the models as on every page."""

import streamlit as st

from cifar_model.app.shared.options import LINK, write_link
from cifar_model.app.shared.remembered import remember
from cifar_model.classes import CLASS_NAMES

OPENED = "models_opened"  # session key: (gallery, test image) that a visitor looks at closely
CELL = "models_cell"  # session key: (truth, answer) of the confusion matrix
QUESTION = "models_question"  # session key: the question that is open


def read_link() -> None:
    """Take the question and the cell of the confusion matrix from ?show=confusion&cell=cat-dog, once for each link."""
    link, state = st.query_params.to_dict(), st.session_state
    wanted = {name: link[name] for name in ("show", "cell") if name in link}
    if not wanted or wanted == state.get("models_link"):
        return
    state["models_link"] = wanted
    truth, _, answer = wanted.get("cell", "").partition("-")
    if {truth, answer} <= set(CLASS_NAMES):
        state[CELL] = (CLASS_NAMES.index(truth), CLASS_NAMES.index(answer))
        remember(QUESTION, "confusion")
    if "show" in wanted:
        remember(QUESTION, wanted["show"])  # what is no question is put right where they are chosen


def write_models_link(models: str, question: str) -> None:
    """Put what the page shows into its address."""
    link = {LINK: models, "show": question}
    if question == "confusion" and (cell := st.session_state.get(CELL)):
        link["cell"] = "-".join(CLASS_NAMES[i] for i in cell)
    st.session_state["models_link"] = {name: link[name] for name in ("show", "cell") if name in link}
    write_link(**link)


def write_cell(truth: int, answer: int) -> None:
    """Choose a cell of the confusion matrix, in the address too."""
    st.session_state[CELL] = truth, answer
    write_models_link(st.query_params.get(LINK, ""), "confusion")
