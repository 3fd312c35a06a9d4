"""The distilled images, to look at."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from cifar_model.app.shared.page import guarded
from cifar_model.classes import CLASS_NAMES
from cifar_model.data.distilled import read_mini
from cifar_model.pictures.encode import encode_png

OVERVIEW = "each class"
OVERVIEW_SIDE = 2  # of the square of pictures that stands for a class


def mini_section() -> None:
    """The distilled images of each class, enlarged; made only when somebody looks."""
    place = st.expander(
        "Look at the distilled images", icon=":material/grid_view:", on_change="rerun", key="train_mini_open"
    )
    if place.open:
        with place:
            st.fragment(mini_pictures)()


@guarded()
def mini_pictures() -> None:
    """One class, or some of each."""
    st.markdown(
        "Not photographs: an optimiser painted these pixel by pixel until networks trained on them alone "
        "recognised real photographs. What looks odd to you is what a network looks for."
    )
    chosen = st.pills("Images of", [OVERVIEW, *CLASS_NAMES], default=OVERVIEW, required=True, key="train_mini_class")
    if chosen == OVERVIEW:
        with st.grid(5, min_column_width=140):
            for name in CLASS_NAMES:
                st.image(_overview(name), caption=name, width="stretch", alt=f"Distilled images: {name}")
        return
    pictures = _distilled(chosen)
    with st.grid(10, min_column_width=72, gap="small"):
        for number, picture in enumerate(pictures, start=1):
            st.image(picture, width="stretch", alt=f"Distilled image {number}: {chosen}")
    st.caption(f"All {len(pictures)} training images of the class {chosen}.")


@st.cache_data(show_spinner=False)
def _distilled(name: str) -> list[bytes]:
    """The training images of a class as PNG files, each pixel a square of eight by eight."""
    (images, labels), _ = read_mini()
    return [encode_png(pixels, scale=8) for pixels in images[labels == CLASS_NAMES.index(name)]]


@st.cache_data(show_spinner=False)
def _overview(name: str) -> bytes:
    """The first training images of a class, as a square of two by two."""
    (images, labels), _ = read_mini()
    own = images[labels == CLASS_NAMES.index(name)]
    side = min(OVERVIEW_SIDE, math.isqrt(len(own)))
    rows = [np.concatenate(own[row * side : (row + 1) * side], axis=1) for row in range(side)]
    return encode_png(np.concatenate(rows), scale=6)
