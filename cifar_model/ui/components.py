"""What the pages are built of: browser components, the model choice, and how errors and waiting are shown."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.images import data_url
from cifar_model.models import ModelInfo
from cifar_model.ui import resources
from cifar_model.ui.jobs import Picture
from cifar_model.ui.worker import Worker

logger = logging.getLogger(__name__)

SOFTMAX = (
    "Each bar is a probability, from the network's softmax: ten numbers that add up to 100 %. "
    "It has to share them among these ten classes, whatever the picture shows."
)
CLASSES = [[name, CLASS_COLORS[name]] for name in CLASS_NAMES]
_FRONTEND = Path(__file__).parent / "frontend"


def _component(name: str):
    """A browser component: the base, then NAME.js with NAME.css and NAME.html where there are any.

    Returns a function of key, data and callbacks that mounts it. The data carries the time of its last change:
    Streamlit's front end may deliver the first two states of a component in the wrong order, and base.js leaves
    out what is older than what is shown.
    """

    def read(file: str) -> str:
        path = _FRONTEND / file
        return path.read_text(encoding="utf-8") if path.exists() else ""

    mount = st.components.v2.component(
        f"cifar_lab.{name}",
        html=read(f"{name}.html") or '<div class="root"></div>',
        css=read("base.css") + read(f"{name}.css"),
        js=read("base.js") + read(f"{name}.js"),
    )

    def place(*, key: str, data: dict, **callbacks) -> None:
        before, changed = st.session_state.get(f"shown_{key}", (None, 0))
        if data != before:
            changed = max(changed + 1, time.time_ns() // 1000)
            st.session_state[f"shown_{key}"] = data, changed
        mount(key=key, data=data | {"changed": changed}, **callbacks)

    return place


_gallery, _lens, _bars, live_blend = map(_component, ("gallery", "lens", "bars", "live_blend"))


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Show in its place what goes wrong in a part of a page: a LabError's message, an apology for a bug."""
    try:
        yield
    except LabError as error:
        st.error(str(error), icon=":material/error:")
    except Exception:
        logger.exception("a part of the page failed")
        st.error(
            "Something went wrong here, and it isn't your fault. The app's log has the details.",
            icon=":material/bug_report:",
        )


def wait_for(worker: Worker, place) -> None:
    """Wait until a worker is ready and say so in `place` meanwhile; WorkerError if it never will be."""
    said = False
    while not worker.wait(0.2 if said else 0):
        # A call of Streamlit's in each round: another click of the visitor ends the wait.
        place.info(
            "The network is starting. This takes a few seconds, once after the app starts.",
            icon=":material/hourglass_top:",
        )
        said = True
    if said:
        place.empty()


def percent(probability: float) -> str:
    """A probability for a person, as `figures.percent`, which would bring Altair into this process."""
    if probability < 0.001:
        return "< 0.1 %"
    if probability < 0.0995 or 0.99 <= probability < 1:
        return f"{min(100 * probability, 99.9):.1f} %"
    return f"{100 * probability:.0f} %"


def header(title: str, question: str) -> DeltaGenerator:
    """A page's title with its question; returns the place beside it, for the choice of models."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        with st.container(width="content", gap=None):
            st.title(title, anchor=False)
            st.caption(question)
        return st.container(width=656)


def choose_models() -> list[ModelInfo]:
    """One model or two, chosen by the visitor and kept from page to page; none if there is no model yet."""
    known = {model.name: model for model in resources.models()}
    if not known:
        st.info(
            "There is no model on this machine yet. Train one on the Train page; it can be asked here "
            "as soon as its first epoch is done.",
            icon=":material/model_training:",
        )
        return []
    for key in ("model", "second_model"):
        if st.session_state.get(key) not in (None, *known):  # deleted or renamed meanwhile
            del st.session_state[key]
    titles = {name: model.title for name, model in known.items()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first = st.selectbox(
            "Model",
            list(known),
            key="model",
            format_func=titles.get,
            persist_state="session",
            width=320,
            help="The network that answers. Each finished or stopped training appears here too.",
        )
        second = st.selectbox(
            "Compare with",
            list(known),
            index=None,
            key="second_model",
            format_func=titles.get,
            placeholder="a second model (optional)",
            persist_state="session",
            width=320,
            help="A second network answers the same pictures, beside the first.",
        )
    return [known[name] for name in dict.fromkeys((first, second)) if name is not None]


def tile(identity: str, picture: Picture | None, *, title: str = "", note: str = "", color: str = "") -> dict:
    """One tile of a `gallery`; without a picture one that is awaited, or that failed if it has a note."""
    alt = title or identity
    if picture and title not in ("", picture.name):
        alt = f"{picture.name}: {title}"
    sides = sorted((picture.width, picture.height)) if picture else (1, 1)
    return {
        "id": identity,
        "src": picture.thumbnail if picture else None,
        "alt": alt,
        "title": title,
        "note": note,
        "color": color,
        "whole": sides[1] > 1.9 * sides[0],  # too long for a square tile to show what matters
        "failed": picture is None and bool(note),
    }


def gallery(
    tiles: Iterable[dict],
    *,
    label: str,
    key: str,
    selected: str | None,
    on_pick: Callable[[str], None],
    size: str = "5.5rem",
    strip: bool = False,
) -> None:
    """Pictures to click; `on_pick` gets the id of the one that was. A strip is a single row that scrolls."""

    def picked() -> None:
        chosen = st.session_state[key].picked
        if chosen in shown:  # what a browser sends is not to be trusted
            on_pick(chosen)

    items = list(tiles)
    shown = {item["id"] for item in items}
    data = {"items": items, "label": label, "selected": selected, "tile": size, "strip": strip}
    _gallery(key=key, data=data, on_picked_change=picked)


def sample_gallery(
    *, key: str, selected: str | None, on_pick: Callable[[str], None], size: str, titles: bool = True,
    secret: bool = False,
) -> None:  # fmt: skip
    """The ten sample photographs in a strip, with or without their classes' names below; `secret` tells none."""
    samples = resources.samples().items()
    tiles = [tile(name, p, title=name if titles else "", color=CLASS_COLORS[name]) for name, p in samples]
    if secret:
        tiles = [item | {"title": "", "alt": f"Sample {i}"} for i, item in enumerate(tiles, start=1)]
    gallery(
        tiles,
        label="Sample photographs",
        key=key,
        selected=selected,
        on_pick=on_pick,
        size=size,
        strip=True,
    )


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
        "preview": picture.preview,
        "pixels": data_url(picture.pixels),
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
