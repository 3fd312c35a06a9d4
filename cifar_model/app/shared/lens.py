"""One picture with the square that is cut out of it, and ten bars of belief."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from cifar_model.app.browser.component import component
from cifar_model.app.shared.media import address
from cifar_model.app.workers.prepare import Picture
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.pictures.encode import encode_png

SOFTMAX = (
    "Each bar is a probability, from the network's softmax: ten numbers that add up to 100\N{NO-BREAK SPACE}%, "
    "shared among these ten classes whatever the image shows."
)
CLASSES = [[name, CLASS_COLORS[name]] for name in CLASS_NAMES]
_lens = component("lens")
_bars = component("bars")


def lens(
    picture: Picture, position: float, *, key: str, on_move: Callable[[float], None], name: str | None = None
) -> None:
    """What arrived, with the square that is cut out of it, and what the network sees. `position`: 0 to 1."""
    name = name or picture.name

    def moved() -> None:
        value = st.session_state[key].position
        if isinstance(value, int | float) and 0 <= value <= 1:
            on_move(float(value))

    data = {
        "name": name,
        "preview": address(picture.preview, f"{key}-preview"),
        "pixels": address(encode_png(picture.pixels), f"{key}-pixels"),
        "width": picture.width,
        "height": picture.height,
        "position": position,
        "arrived": f"What arrived: {name}, {picture.width:,} × {picture.height:,} pixels",
        "seen": "What the network sees: 32 × 32 pixels",
    }
    _lens(key=key, data=data, on_position_change=moved)


def bars(probabilities: np.ndarray, *, label: str, key: str, muted: bool = False) -> None:
    """Ten bars in the classes' colours, or in grey where they are not to be relied on."""
    data = {"classes": CLASSES, "probabilities": [float(p) for p in probabilities], "label": label, "muted": muted}
    _bars(key=key, data=data)
