"""One download of CIFAR-10 for all visitors."""

from __future__ import annotations

import threading

import streamlit as st

from cifar_model.app.shared.discreet import discreet
from cifar_model.app.shared.owner import is_owner
from cifar_model.app.shared.page import guarded
from cifar_model.app.train.words import fenced
from cifar_model.data import download
from cifar_model.data.download import partial_download
from cifar_model.data.find import is_available
from cifar_model.errors import LabError


class Download:
    """One download of CIFAR-10 for all sessions, in a thread that no page's end stops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running = False
        self.done = self.total = 0
        self.error = ""

    def start(self) -> None:
        """Begin, unless it runs already."""
        with self._lock:
            if self.running:
                return
            self.running, self.error, self.done, self.total = True, "", 0, 0
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        def note(done: int, total: int) -> None:
            self.done, self.total = done, total

        try:
            download.download(note)
        except LabError as error:
            self.error = str(error)
        except Exception as error:  # shown, or the page would wait for ever
            self.error = f"The download failed: {error}"
        finally:
            self.running = False


@st.cache_resource(show_spinner=False)
def the_download() -> Download:
    """The one download of this server."""
    return Download()


@guarded()
def show_progress(was_running: bool, kind: str) -> None:
    job = the_download()
    if job.running != was_running or is_available():  # another visitor may have begun, or ended it
        st.rerun()
    if job.running:
        share = job.done / job.total if job.total else 0.0
        text = f"{job.done / 1e6:,.0f} of {job.total / 1e6:,.0f} MB" if job.total else "Connecting …"
        st.progress(min(1.0, share), text=text if share < 1 else "Verifying the download …")
        return
    if job.error:
        st.error(fenced(discreet(job.error)), icon=":material/cloud_off:")
        st.markdown(
            "Without network: copy `cifar-10-python.tar.gz`, or a folder with CIFAR-10, from another "
            "machine, and set `CIFAR10_DIR` to it."
        )
    if not is_owner():
        st.caption("Whoever runs this app can get it, on this page or with `python -m cifar_model data --download`.")
        return
    part = partial_download()
    label = f"Continue the download after {part.stat().st_size / 1e6:,.0f} MB" if part else "Download CIFAR-10"
    if job.error and not part:
        label = "Try again"
    if st.button(label, icon=":material/download:", type=kind, key="train_download"):
        job.start()
        st.rerun()
