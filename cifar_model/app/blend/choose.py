"""The two pictures of Blend, presets, and the way to mix."""

import random

import streamlit as st

from cifar_model.app.blend.ambiguous import MODE_NAMES
from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import Blend
from cifar_model.app.shared.gallery import sample_gallery
from cifar_model.app.shared.reading import Reading, choose_reading
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.models.folder import ModelInfo
from cifar_model.pictures.encode import encode_png
from cifar_model.pictures.folders import IMAGE_SUFFIXES
from cifar_model.pictures.mix import MODES

PRESETS = (("cat", 40, "dog"), ("deer", 60, "horse"), ("automobile", 50, "truck"), ("airplane", 50, "bird"))
SLOTS = {"a": "First picture", "b": "Second picture"}


def choose_blend(blend: Blend, models: list[ModelInfo]) -> tuple[str, Reading]:
    """The two pictures, presets, the way to mix, and how answers are shown; returns the mode and the latter."""
    if blend.refused:
        st.warning(
            f"Part of the link made no sense here and was left out: {', '.join(blend.refused)}.",
            icon=":material/link_off:",
        )
    for slot, column in zip(SLOTS, st.columns(2, gap="medium"), strict=True):
        with column, st.container(border=True):
            _slot(slot, blend)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Swap", on_click=blend.swap, icon=":material/swap_horiz:")
        st.button("Shuffle", on_click=_shuffle, args=(blend,), icon=":material/shuffle:")
        for a, ratio, b in PRESETS:
            label = f"{ratio} % {a} + {100 - ratio} % {b}"
            st.button(label, on_click=_preset, args=(blend, a, ratio, b), type="tertiary")
    st.session_state.setdefault("mode", "average")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        mode = st.segmented_control(
            "Way to mix",
            list(MODES),
            format_func=MODE_NAMES.get,
            required=True,
            key="mode",
            persist_state="session",
        )
        reading = choose_reading(models)
    st.caption(MODES[mode])
    return mode, reading


def _slot(slot: str, blend: Blend) -> None:
    picture = blend.pictures[slot]

    def pick(name: str) -> None:
        blend.set(**{slot: resources.samples()[name]})

    def arrived(key: str) -> None:
        file = st.session_state[key]
        if file is None:
            return
        try:
            blend.set(**{slot: resources.drawing().call("prepare", file.getvalue(), file.name)})
            st.session_state.pop(f"refused_{slot}", None)
        except LabError as error:
            st.session_state[f"refused_{slot}"] = str(error)

    is_sample = blend.is_sample(slot)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{SLOTS[slot]}:** {_plain(picture.name)}", width="content")
        with st.popover("Your own", icon=":material/add_photo_alternate:"):
            camera = st.toggle("Use the camera", key=f"camera_on_{slot}")
            key = f"{'camera' if camera else 'file'}_{slot}"
            if camera:
                st.camera_input("Take a picture", key=key, on_change=arrived, args=(key,))
            else:
                types = [suffix[1:] for suffix in IMAGE_SUFFIXES]
                st.file_uploader("Drop a picture here", type=types, key=key, on_change=arrived, args=(key,))
            if refused := st.session_state.get(f"refused_{slot}"):
                st.error(refused, icon=":material/broken_image:")
    if not is_sample:
        alt = f"{picture.name}, the square that the network sees"
        st.image(encode_png(picture.pixels, scale=3), width=96, alt=alt)
    sample_gallery(
        key=f"samples_{slot}",
        selected=picture.name if is_sample else None,
        on_pick=pick,
        size="2.6rem",
        titles=False,
    )


def _plain(name: str) -> str:
    """A file's name as Markdown shows it: letter by letter."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()#+-.!|~$:<>&" else c for c in name[:60])


def _preset(blend: Blend, a: str, ratio: int, b: str) -> None:
    samples = resources.samples()
    blend.set(a=samples[a], b=samples[b], ratio=ratio)


def _shuffle(blend: Blend) -> None:
    a, b = random.sample(CLASS_NAMES, 2)
    _preset(blend, a, random.randrange(20, 81, 5), b)
