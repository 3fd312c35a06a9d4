"""What there is to learn from, chosen and shown."""

from __future__ import annotations

import os
from dataclasses import dataclass

import streamlit as st

from cifar_model.app.shared.discreet import discreet
from cifar_model.app.shared.owner import is_owner
from cifar_model.app.train.download import show_progress, the_download
from cifar_model.app.train.pace import LIVE_SECONDS
from cifar_model.app.train.words import IDLE_SECONDS, fenced
from cifar_model.data.distilled import describe_mini, mini_source
from cifar_model.data.find import find_source
from cifar_model.data.sources import MINI
from cifar_model.errors import LabError

CIFAR10 = "cifar10"
TITLES = {CIFAR10: "CIFAR-10", MINI: "Distilled images"}


@dataclass(frozen=True)
class Choices:
    """What there is to learn from.

    `shown` may be chosen, best first, and `ready` of these can be learned from now. `problem` says why CIFAR-10
    can't; empty where it can.
    """

    shown: tuple[str, ...]
    ready: tuple[str, ...]
    problem: str = ""

    @property
    def can_start(self) -> bool:
        """Whether what the form opens with can be learned from now."""
        return self.shown[0] in self.ready


def find_choices() -> Choices:
    """Look for CIFAR-10 and for the distilled images."""
    mini = (MINI,) if mini_source() else ()
    try:
        find_source()
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
            st.subheader("CIFAR-10 is needed first", anchor=False)
            st.error(fenced(discreet(choices.problem)), icon=":material/folder_off:")
            if is_owner():
                st.markdown("Correct the setting `CIFAR10_DIR`, or remove it, and start the app again.")
            return
        if mini := MINI in choices.shown:
            st.subheader("Ready to train: distilled images", anchor=False)
            st.markdown(describe_mini("seed-cnn"))
            st.markdown(
                "**CIFAR-10** itself, 60,000 photographs, makes far better networks. It isn't on this machine: get "
                "it once from the University of Toronto (170 MB; a broken download continues where it broke), or set "
                "`CIFAR10_DIR` to a folder that holds it and start the app again."
            )
        else:
            st.subheader("CIFAR-10 is needed first", anchor=False)
            st.markdown(
                "Training needs CIFAR-10, 60,000 small images in ten classes, and it isn't here yet. Download "
                "it once from the University of Toronto (170 MB), or set `CIFAR10_DIR` to a folder "
                "that holds it and start the app again."
            )
        job = the_download()
        st.fragment(show_progress, run_every=LIVE_SECONDS if job.running else IDLE_SECONDS)(
            job.running, "secondary" if mini else "primary"
        )
