"""The component that follows the camera, and the picture that a visitor takes along from it."""

import base64
import binascii
import time

import streamlit as st

from cifar_model.app.browser.component import component
from cifar_model.app.browser.files import FOLDER, served
from cifar_model.app.live.about import about_model, about_samples, runtime_version
from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import MODE_NAMES, use_in_blend
from cifar_model.app.shared.lens import CLASSES
from cifar_model.app.shared.page import guarded, show_error
from cifar_model.app.shared.reading import DEFAULT_LEVEL, OUTSIDE
from cifar_model.app.shared.remembered import remembered
from cifar_model.app.shared.taken import take_to_classify
from cifar_model.errors import ImageError, LabError
from cifar_model.models.compiled import compiled_folder
from cifar_model.models.folder import ModelInfo
from cifar_model.pictures.mix import MODES
from cifar_model.trust.answer_sets import LEVELS

SECONDS_BETWEEN_LOOKS = 0.5  # at the preparation of a network
MOST_TAKEN = 6_000_000  # characters of a picture that is taken along
PNG = "data:image/png;base64,"

_live = component("live")


def show_live(model: ModelInfo | None) -> None:
    """The whole page; asks the server again only while the network is being prepared."""
    waits = False
    if model:
        try:
            waits = resources.browser_form(model.path) is None
        except LabError as error:
            show_error(error)
            st.button("Try again", on_click=resources.try_browser_form_again, args=(model.path,))
            return
    st.fragment(_show, run_every=SECONDS_BETWEEN_LOOKS if waits else None)(model, waits)


def _show(model: ModelInfo | None, waits: bool) -> None:
    with guarded():
        try:
            form = resources.browser_form(model.path) if model else None
        except LabError:
            st.rerun()  # the page says what happened
        if waits and form is not None:
            st.rerun()  # and look no more
        _mount(model, form and served("networks", compiled_folder()) + form.name)
        wish = st.session_state.pop("live_wish", None)
        if wish is not None:
            _take_along(wish)


def _mount(model: ModelInfo | None, url: str | None) -> None:
    def taken() -> None:
        st.session_state.live_wish = st.session_state.live.taken

    _live(
        key="live",
        data={
            "files": served("live", FOLDER / "live"),
            "version": runtime_version(),
            "model": about_model(model, url) if model else None,
            "classes": CLASSES,
            "samples": about_samples(served("samples", resources.sample_path("cat").parent)),
            "ways": [[way, MODE_NAMES[way], about] for way, about in MODES.items()],
            "levels": LEVELS,
            "level": remembered("level") or DEFAULT_LEVEL,
            "raw": bool(remembered("raw")),
            "strange": OUTSIDE,
        },
        on_taken_change=taken,
    )


def _take_along(wish: object) -> None:
    """Open Classify or Blend with the picture that the browser sent; what a browser sends is not to be trusted."""
    to, text = (wish.get("to"), wish.get("picture")) if isinstance(wish, dict) else (None, None)
    if to not in ("classify", "a", "b") or not isinstance(text, str):
        return
    name = f"live-{time.strftime('%H%M%S')}.png"
    try:
        if not text.startswith(PNG) or len(text) > MOST_TAKEN:
            raise ValueError
        data = base64.b64decode(text.removeprefix(PNG), validate=True)
    except (ValueError, binascii.Error):
        raise ImageError("The picture that arrived from this page is damaged or too large. Take it again.") from None
    picture = resources.drawing().call("prepare", data, name)
    if to == "classify":
        take_to_classify(name, data)
    else:
        use_in_blend(to, picture)
