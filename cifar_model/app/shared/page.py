"""What every page has: title, choice of models, and how errors and waiting are shown."""

import contextlib
import logging
from collections.abc import Iterator

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cifar_model.app.shared import resources
from cifar_model.app.workers.process import Worker
from cifar_model.errors import LabError
from cifar_model.models.folder import ModelInfo

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Show in its place what goes wrong in a part of a page: a LabError's message, an apology for a bug."""
    try:
        yield
    except LabError as error:
        st.error(str(error), icon=":material/error:")
    except Exception:
        logger.exception("a part of the page failed")
        st.error(
            "Something went wrong here, and it isn't your fault. The app's log has the details.",
            icon=":material/bug_report:",
        )


def wait_for(worker: Worker, place) -> None:
    """Wait until a worker is ready and say so in `place` meanwhile; WorkerError if it never will be."""
    said = False
    while not worker.wait(0.2 if said else 0):
        # A call of Streamlit's in each round: another click of the visitor ends the wait.
        place.info(
            "The network is starting. This takes a few seconds, once after the app starts.",
            icon=":material/hourglass_top:",
        )
        said = True
    if said:
        place.empty()


def percent(probability: float) -> str:
    """A probability for a person, as `text.percent`, which would bring Altair into this process."""
    if probability < 0.001:
        return "< 0.1 %"
    if probability < 0.0995 or 0.99 <= probability < 1:
        return f"{min(100 * probability, 99.9):.1f} %"
    return f"{100 * probability:.0f} %"


def header(title: str, question: str) -> DeltaGenerator:
    """A page's title with its question; returns the place beside it, for the choice of models."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        with st.container(width="content", gap=None):
            st.title(title, anchor=False)
            st.caption(question)
        return st.container(width=656)


def choose_models() -> list[ModelInfo]:
    """One model or two, chosen by the visitor and kept from page to page; none if there is no model yet."""
    known = {model.name: model for model in resources.models()}
    if not known:
        st.info(
            "There is no model on this machine yet. Train one on the Train page; it can be asked here "
            "as soon as its first epoch is done.",
            icon=":material/model_training:",
        )
        return []
    for key in ("model", "second_model"):
        if st.session_state.get(key) not in (None, *known):  # deleted or renamed meanwhile
            del st.session_state[key]
    titles = {name: model.title for name, model in known.items()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first = st.selectbox(
            "Model",
            list(known),
            key="model",
            format_func=titles.get,
            persist_state="session",
            width=320,
            help="The network that answers. Each finished or stopped training appears here too.",
        )
        second = st.selectbox(
            "Compare with",
            list(known),
            index=None,
            key="second_model",
            format_func=titles.get,
            placeholder="a second model (optional)",
            persist_state="session",
            width=320,
            help="A second network answers the same pictures, beside the first.",
        )
    return [known[name] for name in dict.fromkeys((first, second)) if name is not None]
