"""Pictures to click."""

from collections.abc import Callable, Iterable

import streamlit as st

from cifar_model.app.browser.component import component
from cifar_model.app.shared import resources
from cifar_model.app.shared.media import address
from cifar_model.app.workers.prepare import Picture
from cifar_model.classes import CLASS_COLORS

_gallery = component("gallery")


def tile(identity: str, picture: Picture | None, *, title: str = "", note: str = "", color: str = "") -> dict:
    """One tile of a `gallery`; without a picture one that is awaited, or that failed if it has a note."""
    alt = title or identity
    if picture and title not in ("", picture.name):
        alt = f"{picture.name}: {title}"
    sides = sorted((picture.width, picture.height)) if picture else (1, 1)
    return {
        "id": identity,
        "src": picture and picture.thumbnail,
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
    on_remove: Callable[[str], None] | None = None,
    size: str = "5.5rem",
    strip: bool = False,
) -> None:
    """Pictures to click; `on_pick` gets the id of the one that was. A strip is a single row that scrolls.

    The `src` of a tile is a PNG or WebP file.

    With `on_remove` each has a button that takes it away.
    """

    def picked() -> None:
        chosen = st.session_state[key].picked
        if chosen in shown:  # what a browser sends is not to be trusted
            on_pick(chosen)

    def removed() -> None:
        chosen = st.session_state[key].removed
        if on_remove and chosen in shown:
            on_remove(chosen)

    items = [
        item | {"removable": on_remove is not None, "src": _source(item["src"], f"{key}-{place}")}
        for place, item in enumerate(tiles)
    ]
    shown = {item["id"] for item in items}
    data = {"items": items, "label": label, "selected": selected, "tile": size, "strip": strip}
    _gallery(key=key, data=data, on_picked_change=picked, on_removed_change=removed)


def _source(picture: bytes | None, place: str) -> str | None:
    return None if picture is None else address(picture, place)


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
