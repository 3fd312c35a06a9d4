"""Eight pictures with the network's present answers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import streamlit as st

from cifar_model.app.shared.page import percent
from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.data.sources import MINI
from cifar_model.pictures.encode import encode_png
from cifar_model.runs.read import RunInfo, read_guesses

_BLANK = encode_png(np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 128, np.uint8))


@lru_cache(maxsize=64)
def _picture(pixels: bytes) -> bytes:
    """A 32×32 picture as an enlarged PNG, made once for all the times that it is shown."""
    return encode_png(np.frombuffer(pixels, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE, 3), scale=6)


def show_guesses(run: RunInfo) -> None:
    """Eight fixed test pictures, or sample photographs, with the network's present answers."""
    mini = run.settings.get("data") == MINI
    st.markdown(
        f"**What it thinks of eight {'real photographs' if mini else 'pictures'} that it never trains on**",
        help="The most probable class by its softmax output: ten shares that sum to 100 %.",
    )
    guesses = read_guesses(run.path)
    with st.grid(8, min_column_width=92, gap="small"):
        for number in range(8):
            with st.container(gap="xxsmall"):
                if guesses is None or number >= len(guesses.labels):
                    st.image(_BLANK, width="stretch", alt="A picture to come")
                    st.markdown("…  \n:small[…]  \n:small[…]")
                    continue
                truth = CLASS_NAMES[int(guesses.labels[number])]
                alt = f"A {'photograph' if mini else 'test picture'}: {truth}"
                st.image(_picture(guesses.images[number].tobytes()), width="stretch", alt=alt)
                if guesses.probabilities is None:
                    st.markdown(f"…  \n:small[…]  \n:small[it is: {truth}]")
                    continue
                row = guesses.probabilities[number]
                said = CLASS_NAMES[int(row.argmax())]
                verdict = ":green[✓ right]" if said == truth else f":red[✗ {truth}]"
                st.markdown(f"**{said}**  \n:small[{percent(float(row.max()))}]  \n:small[{verdict}]")
