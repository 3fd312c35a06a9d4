"""The gallery of the most ambiguous mixes on Blend: one click loads one."""

from pathlib import Path

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import MODE_NAMES, Blend
from cifar_model.app.shared.discreet import discreet
from cifar_model.app.shared.gallery import gallery
from cifar_model.app.shared.page import guarded, offer_again, wait_for
from cifar_model.app.shared.reading import Reading
from cifar_model.app.shared.remembered import remember
from cifar_model.app.shared.resources import Mixes
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.errors import DatasetError
from cifar_model.models.folder import ModelInfo
from cifar_model.pictures.ambiguous import SURPRISES, mix_pictures, rank_mixes
from cifar_model.pictures.encode import encode_png
from cifar_model.text import percent, proportion

SHOWN = 12
SOURCES = {"samples": "Sample photographs", "test": "CIFAR-10 test images"}
ORDERS = {"third": "A third class wins", "unsure": "Least confident", "many": "Largest answer set"}


def choose_ambiguous(blend: Blend, models: list[ModelInfo], reading: Reading) -> None:
    """Mid-blends of all pairs, the most surprising first, once the background has asked for them."""
    panel = st.expander(
        "The most ambiguous pairs", key="ambiguous", on_change="rerun", icon=":material/psychology_alt:"
    )
    if not panel.open or not models:
        return
    model = models[0]
    with panel, guarded():
        with st.container(horizontal=True, vertical_alignment="bottom"):
            source = st.segmented_control(
                "Mixes of", list(SOURCES), format_func=SOURCES.get, default="samples", required=True,
                key="ambiguous_source",
            )  # fmt: skip
            by = st.segmented_control(
                "Sort by", list(ORDERS), format_func=ORDERS.get, default="third", required=True,
                key="ambiguous_order",
            )  # fmt: skip
        wait_for(resources.answering(), st.empty())
        try:
            task = resources.mid_blends_of(model.path, source)
        except DatasetError as error:
            st.info("CIFAR-10 is not on this machine, so there are no test images to mix.", icon=":material/info:")
            st.caption(discreet(str(error)))
            offer_again(error, key="ambiguous")
            return
        if task is None or task.running:
            _wait(model, source)
        elif task.error:
            st.error(task.error, icon=":material/error:")
            again = resources.try_mid_blends_again
            st.button("Try again", on_click=again, args=(model.path, source), icon=":material/refresh:")
        elif by == "many" and task.result.beliefs.sets is None:
            st.info(f"{model.name} has no answer sets.", icon=":material/info:")
        else:
            _gallery(blend, model, source, by, task.result, reading)


def _wait(model: ModelInfo, source: str) -> None:
    @st.fragment(run_every=0.7)
    def progress() -> None:
        task = resources.mid_blends_of(model.path, source)
        done, total = (task.done, task.total) if task else (0, 1)
        st.progress(done / total, f"{done} of {total} mixes classified" if total > 1 else "Reading the images …")
        if task and not task.running:
            st.rerun()

    progress()


def _gallery(blend: Blend, model: ModelInfo, source: str, by: str, mixes: Mixes, reading: Reading) -> None:
    shown = mixes.beliefs.shown(reading.raw)
    sets = mixes.beliefs.members(reading.level)
    order = rank_mixes(shown, mixes.parents, sets=sets, by=by)[:SHOWN]
    st.caption(f"{SURPRISES[by]} For each pair, the most surprising of five ways to mix at 40, 50 and 60 %.")
    if not order:
        st.info("No third class wins any of these mixes.", icon=":material/info:")
        return
    frames = mix_pictures(mixes.pictures, [mixes.mixes[i] for i in order])

    def tile(place: int, index: int) -> dict:
        mix, best = mixes.mixes[index], int(shown[index].argmax())
        recipe = f"{proportion(mix.ratio)} {_class(mixes, mix.a)} + {proportion(1 - mix.ratio)} "
        recipe += _class(mixes, mix.b)
        title = f"{CLASS_NAMES[best]} {percent(shown[index, best])}"
        if by == "many":
            title = f"{int(sets[index].sum())} classes"
        if reading.predict:
            title = "?"
        return {
            "id": str(index), "src": encode_png(frames[place]), "alt": f"{recipe}, {MODE_NAMES[mix.mode]}: {title}",
            "title": title, "note": f"{recipe}, {MODE_NAMES[mix.mode].lower()}", "whole": False, "failed": False,
            "exact": True, "color": "" if reading.predict or by == "many" else CLASS_COLORS[CLASS_NAMES[best]],
        }  # fmt: skip

    def load(identity: str) -> None:
        mix = mixes.mixes[int(identity)]
        blend.set(a=_picture(source, mixes, mix.a), b=_picture(source, mixes, mix.b), ratio=round(100 * mix.ratio))
        remember("mode", mix.mode)
        st.session_state.ambiguous_chosen = model.path, source, identity

    chosen: tuple[Path, str, str] | None = st.session_state.get("ambiguous_chosen")
    gallery(
        [tile(place, index) for place, index in enumerate(order)],
        label="The most ambiguous mixes", key="ambiguous_gallery", on_pick=load, size="8rem", strip=True,
        selected=chosen[2] if chosen and chosen[:2] == (model.path, source) else None,
    )  # fmt: skip


def _class(mixes: Mixes, picture: int) -> str:
    return CLASS_NAMES[int(mixes.labels[picture])]


def _picture(source: str, mixes: Mixes, number: int):
    name = mixes.names[number]
    if source == "samples":
        return resources.samples()[name]
    return resources.drawing().call("prepare", encode_png(mixes.pictures[number]), name)
