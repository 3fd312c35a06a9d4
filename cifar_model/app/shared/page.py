"""What every page has: its title, and how errors and waiting are shown."""

import contextlib
import logging
import traceback
from collections.abc import Iterator

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitDuplicateElementKey
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cifar_model.app.browser.files import FOLDER
from cifar_model.app.shared.discreet import discreet, number_of
from cifar_model.app.shared.keeper import keep_house
from cifar_model.app.shared.owner import warn_of_strangers
from cifar_model.app.shared.remembered import enter
from cifar_model.app.shared.uploads import limit_uploads
from cifar_model.app.workers.answering import Answering
from cifar_model.app.workers.process import Worker
from cifar_model.errors import LabError

logger = logging.getLogger(__name__)
PAGE_CSS = FOLDER / "page" / "page.css"


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Show in its place what goes wrong in a part of a page: a LabError's message, an apology for a bug."""
    try:
        yield
    except LabError as error:
        show_error(error)
        offer_again(error, key="part")
    except TimeoutError as error:
        logger.warning("a part of the page waited in vain: %s", error)
        st.warning("The server is very busy. Try again in a moment.", icon=":material/hourglass_empty:")
    except Exception:
        number = number_of(traceback.format_exc())
        logger.exception("[%s] a part of the page failed", number)
        st.error(
            f"Something went wrong here, and it isn't your fault. The app's log tells more under the number {number}.",
            icon=":material/bug_report:",
        )


def show_error(error: LabError, icon: str = ":material/error:") -> None:
    """An error's message, as this visitor may read it."""
    st.error(discreet(str(error)), icon=icon)


def offer_again(error: LabError, *, key: str) -> None:
    """A button below an error that may not come again."""
    if error.again is None:
        return
    with contextlib.suppress(StreamlitDuplicateElementKey):  # one is enough where several parts of a page fail
        st.button("Try again", on_click=error.again, key=f"again_{key}", icon=":material/refresh:")


def wait_for(worker: Worker | Answering, place) -> None:
    """Wait until a worker is ready and say so in `place` meanwhile; WorkerError if it never will be."""
    said = False
    while not worker.wait(0.2 if said else 0):
        # A call of Streamlit's in each round: another click of the visitor ends the wait.
        place.info(
            "The network is starting. This takes a few seconds.",
            icon=":material/hourglass_top:",
        )
        said = True
    if said:
        place.empty()


def _with_own_menu() -> None:
    """Begin a visit anew where Streamlit made a menu of the folder pages/, which lists the app's entry as a page, too.

    It does so until the navigation of streamlit_app.py has run once, for whoever opens another page after a start.
    """
    if st.session_state.get("menu_looked_at"):  # a click that comes later must not be lost
        return
    st.session_state.menu_looked_at = True
    context = get_script_run_ctx(suppress_warning=True)
    listed = [] if context is None else list(context.pages_manager.get_pages().values())
    if len(listed) > 1 and any(page["script_path"] == context.pages_manager.main_script_path for page in listed):
        PagesManager.uses_pages_directory = False
        st.rerun()


def header(title: str, question: str = "") -> DeltaGenerator:
    """A page's title with its question, in one line; returns the place beside it, for the choice of models."""
    _with_own_menu()
    enter(title)
    limit_uploads()
    warn_of_strangers()
    keep_house()
    st.html(f"<style>{PAGE_CSS.read_text(encoding='utf-8')}</style>")
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="lab_header"
    ):
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            st.title(title, anchor=False, width="content")
            if question:
                st.caption(question, width="content")
        return st.container(horizontal=True, vertical_alignment="center", width="content")
