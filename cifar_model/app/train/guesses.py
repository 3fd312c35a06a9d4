"""A few images with the network's present answers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import streamlit as st

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.data.sources import MINI
from cifar_model.pictures.encode import encode_png
from cifar_model.runs.read import RunInfo, read_guesses
from cifar_model.text import percent

_BLANK = encode_png(np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 128, np.uint8))


@lru_cache(maxsize=64)
def _picture(pixels: bytes) -> bytes:
    """A 32×32 picture as an enlarged PNG, made once for all the times that it is shown."""
    return encode_png(np.frombuffer(pixels, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE, 3), scale=6)


def show_guesses(run: RunInfo) -> None:
    """Eight fixed test images, or the ten sample photographs, with the network's present answers."""
    mini = run.settings.get("data") == MINI
    guesses = read_guesses(run.path)
    count = len(guesses.labels) if guesses else 10 if mini else 8
    number_word = {8: "eight", 10: "ten"}.get(count, str(count))
    st.markdown(
        f"**Predictions on {number_word} {'sample photographs' if mini else 'held-out images'}**",
        help="The most probable class and its softmax probability. The network never trains on these.",
    )
    with st.container(key="train_guesses"), st.grid(5 if count == 10 else 4, min_column_width=48, gap="small"):
        for number in range(count):
            with st.container(gap="xxsmall"):
                if guesses is None:
                    st.image(_BLANK, width="stretch", alt="An image to come")
                    st.markdown("…  \n…  \n…")
                    continue
                truth = CLASS_NAMES[int(guesses.labels[number])]
                alt = f"A {'photograph' if mini else 'test image'}: {truth}"
                st.image(_picture(guesses.images[number].tobytes()), width="stretch", alt=alt)
                if guesses.probabilities is None:
                    st.markdown(f"…  \n…  \n{truth}")
                    continue
                row = guesses.probabilities[number]
                said = CLASS_NAMES[int(row.argmax())]
                verdict = ":green[✓ correct]" if said == truth else f":red[✗ {truth}]"
                st.markdown(f"**{said}**  \n{percent(float(row.max()))}  \n{verdict}")


def photographs_right(run: RunInfo) -> tuple[int, int] | None:
    """How many of the photographs the network recognises now, of how many; None before it was asked."""
    guesses = read_guesses(run.path)
    if guesses is None or guesses.probabilities is None:
        return None
    return int((guesses.probabilities.argmax(axis=1) == guesses.labels).sum()), len(guesses.labels)
