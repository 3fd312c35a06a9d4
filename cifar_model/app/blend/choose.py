"""The two pictures of Blend, presets, and the way to mix."""

import random

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import MODE_NAMES, Blend
from cifar_model.app.shared.gallery import sample_gallery
from cifar_model.app.shared.names import plain_name, short_name
from cifar_model.app.shared.parts import shows
from cifar_model.app.shared.remembered import kept_widget, remembered
from cifar_model.app.shared.uploads import arrivals
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.pictures.encode import encode_png
from cifar_model.pictures.mix import MODES

PRESETS = (("cat", 40, "dog"), ("deer", 60, "horse"), ("automobile", 50, "truck"), ("airplane", 50, "bird"))
SLOTS = {"a": "First", "b": "Second"}


def choose_blend(blend: Blend) -> str:
    """The two pictures, presets and the way to mix, in one row; returns the mode."""
    if blend.refused:
        st.warning(
            f"Part of the link made no sense here and was left out: {', '.join(blend.refused)}.",
            icon=":material/link_off:",
        )
    if not shows("pictures"):
        return remembered("mode", "average")
    with st.container(horizontal=True, vertical_alignment="center", key="blend_bar"):
        _slot("a", blend)
        st.button("Swap", on_click=blend.swap)
        _slot("b", blend)
        mode = kept_widget(
            st.selectbox, "Way to mix", list(MODES), default="average", format_func=MODE_NAMES.get, key="mode",
            width=145, label_visibility="collapsed",
        )  # fmt: skip
        labels = [f"{ratio} % {a} + {100 - ratio} % {b}" for a, ratio, b in PRESETS]
        st.menu_button(
            "Examples", list(range(len(PRESETS))), format_func=labels.__getitem__, key="preset",
            on_click=_preset_chosen, args=(blend,),
        )  # fmt: skip
        st.button("Shuffle", on_click=_shuffle, args=(blend,))
    with st.container(key="about_mode"):
        st.caption(MODES[mode])
    return mode


def _slot(slot: str, blend: Blend) -> None:
    picture = blend.pictures[slot]

    def pick(name: str) -> None:
        blend.set(**{slot: resources.samples()[name]})

    def arrived(key: str) -> None:
        files = arrivals(st.session_state[key])
        if not files:
            return
        _, name, data = files[0]
        try:
            blend.set(**{slot: resources.drawing().call("prepare", data, name)})
            st.session_state.pop(f"refused_{slot}", None)
        except LabError as error:
            st.session_state[f"refused_{slot}"] = str(error)

    st.image(encode_png(picture.pixels, scale=4), width=42, alt=f"{SLOTS[slot]} image: {picture.name}")
    with st.popover(f"{SLOTS[slot]}: {plain_name(short_name(picture.name, 16))}", key=f"choice_{slot}"):
        st.caption("A sample photograph")
        sample_gallery(
            key=f"samples_{slot}", selected=picture.name if blend.is_sample(slot) else None, on_pick=pick,
            size="3.2rem", titles=False,
        )  # fmt: skip
        camera = st.toggle("Use the camera", key=f"camera_on_{slot}")
        key = f"{'camera' if camera else 'file'}_{slot}"
        with st.container(key=f"adding_{slot}"):
            if camera:
                st.camera_input("Take a picture", key=key, on_change=arrived, args=(key,))
            else:
                st.file_uploader("Or a picture of your own", key=key, on_change=arrived, args=(key,))
        if refused := st.session_state.get(f"refused_{slot}"):
            st.error(refused, icon=":material/broken_image:")


def _preset_chosen(blend: Blend) -> None:
    if (chosen := st.session_state.preset) is not None:
        _preset(blend, *PRESETS[chosen])


def _preset(blend: Blend, a: str, ratio: int, b: str) -> None:
    samples = resources.samples()
    blend.set(a=samples[a], b=samples[b], ratio=ratio)


def _shuffle(blend: Blend) -> None:
    a, b = random.sample(CLASS_NAMES, 2)
    _preset(blend, a, random.randrange(20, 81, 5), b)
