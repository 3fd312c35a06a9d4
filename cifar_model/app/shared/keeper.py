"""What the app does by itself, whoever looks: it starts the runs whose turn has come."""

import logging
import threading
import time

import streamlit as st
from streamlit import runtime

from cifar_model.errors import LabError
from cifar_model.runs.start import start_waiting

logger = logging.getLogger(__name__)
SECONDS = 2.0  # between two looks


@st.cache_resource(show_spinner=False)
def keep_house() -> None:
    """Begin, once for the whole app: a training that was killed starts nobody after it."""
    if runtime.exists():  # a page under test starts nothing
        threading.Thread(target=_keep, daemon=True, name="keeper").start()


def _keep() -> None:
    while True:
        try:
            start_waiting()
        except LabError as error:
            logger.warning("no waiting run could be started: %s", error)
        except Exception:
            logger.exception("no waiting run could be started")
            time.sleep(60)
        time.sleep(SECONDS)
