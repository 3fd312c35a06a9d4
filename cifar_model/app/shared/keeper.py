"""What the app does by itself, whoever looks: it starts the runs whose turn has come, and lets go what nobody needs."""

import gc
import logging
import threading
import time

import streamlit as st
from streamlit import runtime

from cifar_model.errors import LabError
from cifar_model.runs.disk import sweep
from cifar_model.runs.start import start_waiting

logger = logging.getLogger(__name__)
SECONDS = 2.0  # between two looks for runs that wait
# Between two of garbage, 50 ms each: none follows a page's run here, and visits that ended hold files.
SECONDS_A_COLLECTION = 20.0
SECONDS_A_SWEEP = 3600.0  # between two looks for caches that nobody has used for long


@st.cache_resource(show_spinner=False)
def keep_house() -> None:
    """Begin, once for the whole app: a training that was killed starts nobody after it."""
    # A page under test, which has a stand-in for the runtime or none, starts nothing.
    if runtime.exists() and type(runtime.get_instance()) is runtime.Runtime:
        threading.Thread(target=_keep, daemon=True, name="keeper").start()


def _keep() -> None:
    swept, collected = -SECONDS_A_SWEEP, time.monotonic()
    while True:
        try:
            start_waiting()
            if time.monotonic() - collected > SECONDS_A_COLLECTION:
                collected = time.monotonic()
                gc.collect()
            if time.monotonic() - swept > SECONDS_A_SWEEP:
                swept = time.monotonic()
                sweep()
        except LabError as error:
            logger.warning("%s", error)
        except Exception:
            logger.exception("the app's own work failed")
            time.sleep(60)
        time.sleep(SECONDS)
