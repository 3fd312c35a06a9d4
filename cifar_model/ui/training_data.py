"""The Train page on the pictures to learn from: those that ship, CIFAR-10, and the way from one to the other."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass

import numpy as np
import streamlit as st

from cifar_model import dataset
from cifar_model.classes import CLASS_NAMES
from cifar_model.dataset import MINI
from cifar_model.distill import read_mini
from cifar_model.errors import LabError
from cifar_model.images import encode_png
from cifar_model.ui.components import guarded
from cifar_model.ui.training import IDLE_SECONDS, LIVE_SECONDS, fenced

CIFAR10 = "cifar10"
TITLES = {CIFAR10: "CIFAR-10", MINI: "Distilled pictures"}
OVERVIEW = "each class"
OVERVIEW_SIDE = 2  # of the square of pictures that stands for a class


@dataclass(frozen=True)
class Choices:
    """What there is to learn from.

    `shown` may be chosen, best first, and `ready` of these can be learned from now. `problem` says why CIFAR-10
    can't; empty where it can.
    """

    shown: tuple[str, ...]
    ready: tuple[str, ...]
    problem: str = ""


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
            dataset.download(note)
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


def find_choices() -> Choices:
    """Look for CIFAR-10 and for the distilled pictures."""
    mini = (MINI,) if dataset.mini_source() else ()
    try:
        dataset.find_source()
    except LabError as error:
        # A setting that is wrong is no wish for other pictures: they have to be chosen.
        return Choices((CIFAR10, *mini) if os.environ.get("CIFAR10_DIR") else mini or (CIFAR10,), mini, str(error))
    return Choices((CIFAR10, *mini), (CIFAR10, *mini))


def data_section(choices: Choices) -> None:
    """Say what is learned from where CIFAR-10 isn't on this machine, and offer to fetch it."""
    if not choices.problem:
        return
    with st.container(border=True):
        if os.environ.get("CIFAR10_DIR"):  # a download would not be looked at
            st.subheader("First, the pictures", anchor=False)
            st.error(fenced(choices.problem), icon=":material/folder_off:")
            st.markdown("Correct the setting `CIFAR10_DIR`, or remove it, and start the app again.")
            return
        if mini := MINI in choices.shown:
            st.subheader("Ready to learn: distilled pictures", anchor=False)
            st.markdown(dataset.describe_mini("seed-cnn"))
            st.markdown(
                "**All of CIFAR-10**, 60,000 photographs, makes far better networks. It isn't on this machine: fetch "
                "it once from its home at the University of Toronto (170 MB; a broken download goes on where it "
                "broke), or set `CIFAR10_DIR` to a folder that holds it and start the app again."
            )
        else:
            st.subheader("First, the pictures", anchor=False)
            st.markdown(
                "Training needs CIFAR-10, 60,000 small pictures in ten classes, and it isn't here yet. Fetch "
                "it once from its home at the University of Toronto (170 MB), or set `CIFAR10_DIR` to a folder "
                "that holds it and start the app again."
            )
        job = the_download()
        st.fragment(_download_progress, run_every=LIVE_SECONDS if job.running else IDLE_SECONDS)(
            job.running, "secondary" if mini else "primary"
        )


@guarded()
def _download_progress(was_running: bool, kind: str) -> None:
    job = the_download()
    if job.running != was_running or dataset.is_available():  # another visitor may have begun, or ended it
        st.rerun()
    if job.running:
        share = job.done / job.total if job.total else 0.0
        text = f"{job.done / 1e6:,.0f} of {job.total / 1e6:,.0f} MB" if job.total else "Asking for the pictures …"
        st.progress(min(1.0, share), text=text if share < 1 else "Checking that all of it is right …")
        return
    if job.error:
        st.error(fenced(job.error), icon=":material/cloud_off:")
        st.markdown(
            "Without network: copy `cifar-10-python.tar.gz`, or a folder with CIFAR-10, from another "
            "machine, and set `CIFAR10_DIR` to it."
        )
    part = dataset.partial_download()
    label = f"Go on after {part.stat().st_size / 1e6:,.0f} MB" if part else "Download CIFAR-10"
    if job.error and not part:
        label = "Try again"
    if st.button(label, icon=":material/download:", type=kind, key="train_download"):
        job.start()
        st.rerun()


# The pictures themselves


def mini_section() -> None:
    """The distilled pictures of each class, enlarged; made only when somebody looks."""
    place = st.expander(
        "Look at the distilled pictures", icon=":material/grid_view:", on_change="rerun", key="train_mini_open"
    )
    if place.open:
        with place:
            st.fragment(mini_pictures)()


@guarded()
def mini_pictures() -> None:
    """One class, or some of each."""
    st.markdown(
        "No photographs: a computer painted these pixel by pixel, until networks that learn from them alone "
        "recognised real photographs. What looks odd to you is what a network looks for."
    )
    chosen = st.pills("Pictures of", [OVERVIEW, *CLASS_NAMES], default=OVERVIEW, required=True, key="train_mini_class")
    if chosen == OVERVIEW:
        with st.grid(5, min_column_width=140):
            for name in CLASS_NAMES:
                st.image(_overview(name), caption=name, width="stretch", alt=f"Distilled pictures: {name}")
        return
    pictures = _distilled(chosen)
    with st.grid(10, min_column_width=72, gap="small"):
        for number, picture in enumerate(pictures, start=1):
            st.image(picture, width="stretch", alt=f"Distilled picture {number}: {chosen}")
    st.caption(f"All {len(pictures)} training pictures of the class {chosen}.")


@st.cache_data(show_spinner=False)
def _distilled(name: str) -> list[bytes]:
    """The training pictures of a class as PNG files, each pixel a square of eight by eight."""
    (images, labels), _ = read_mini()
    return [encode_png(pixels, scale=8) for pixels in images[labels == CLASS_NAMES.index(name)]]


@st.cache_data(show_spinner=False)
def _overview(name: str) -> bytes:
    """The first training pictures of a class, as a square of two by two."""
    (images, labels), _ = read_mini()
    own = images[labels == CLASS_NAMES.index(name)]
    side = min(OVERVIEW_SIDE, math.isqrt(len(own)))
    rows = [np.concatenate(own[row * side : (row + 1) * side], axis=1) for row in range(side)]
    return encode_png(np.concatenate(rows), scale=6)
