"""A few images with the network's present answers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import streamlit as st

from cifar_model.app.shared.media import address
from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.data.sources import MINI
from cifar_model.pictures.encode import encode_png
from cifar_model.runs.read import Guesses, RunInfo, read_guesses
from cifar_model.text import percent

_BLANK = encode_png(np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 128, np.uint8))


@lru_cache(maxsize=64)
def _picture(pixels: bytes) -> bytes:
    """A 32×32 picture as a PNG, made once for all the times that it is shown."""
    return encode_png(np.frombuffer(pixels, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE, 3))


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
    # One piece of HTML instead of thirty elements: it is drawn twice a second for everybody who watches.
    figures = "".join(_figure(guesses, number, mini) for number in range(count))
    st.html(f'<div class="guesses" style="--across:{5 if count == 10 else 4}">{figures}</div>')


def _figure(guesses: Guesses | None, number: int, mini: bool) -> str:
    """A picture, what it is taken for, how surely, and whether that is right."""
    picture, alt, lines = _BLANK, "An image to come", ["…", "…", "…"]
    if guesses is not None:
        truth = CLASS_NAMES[int(guesses.labels[number])]
        picture = _picture(guesses.images[number].tobytes())
        alt = f"A {'photograph' if mini else 'test image'}: {truth}"
        lines[2] = truth
        if guesses.probabilities is not None:
            row = guesses.probabilities[number]
            said = CLASS_NAMES[int(row.argmax())]
            verdict = '<span class="right">✓ correct' if said == truth else f'<span class="wrong">✗ {truth}'
            lines = [f"<b>{said}</b>", percent(float(row.max())), f"{verdict}</span>"]
    source = address(picture, f"guess-{number}")
    shown = "".join(f"<div>{line}</div>" for line in lines)
    return f'<figure><img src="{source}" alt="{alt}"><figcaption>{shown}</figcaption></figure>'


def photographs_right(run: RunInfo) -> tuple[int, int] | None:
    """How many of the photographs the network recognises now, of how many; None before it was asked."""
    guesses = read_guesses(run.path)
    if guesses is None or guesses.probabilities is None:
        return None
    return int((guesses.probabilities.argmax(axis=1) == guesses.labels).sum()), len(guesses.labels)
