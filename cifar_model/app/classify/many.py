"""Many pictures on Classify, sorted and paged, and what could not be read."""

import streamlit as st

from cifar_model.app.classify.answers import Entry, Passing, Visit
from cifar_model.app.classify.own import CHOSEN, own_pictures
from cifar_model.app.shared import gallery
from cifar_model.app.shared.guessing import game
from cifar_model.app.shared.reading import Reading, outside, set_in_words
from cifar_model.app.workers.prepare import Picture
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.models.folder import ModelInfo
from cifar_model.text import percent

TILES_A_PAGE = 24
SORTS = {"by name": None, "least sure first": 1, "surest first": -1}


def toolbar(entries: list[Entry], models: list[ModelInfo], answers: Visit, reading: Reading) -> list[Entry]:
    """How many pictures are sorted and paged; returns those of the page."""
    st.divider()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        order = st.segmented_control(
            f"{len(entries)} pictures", list(SORTS), default="by name", required=True, key="order",
            disabled=reading.predict,
        )  # fmt: skip
        pages = -(-len(entries) // TILES_A_PAGE)
        page = st.pagination(pages, key="page", width=330) if pages > 1 else 1
        st.button("Remove all", on_click=own_pictures().clear, icon=":material/delete:")
    sign = None if reading.predict else SORTS[order]  # the order would tell
    if sign and models:

        def confidence(entry: Entry) -> tuple:
            belief = answers.belief(entry, models[0])
            return (belief is None, 0 if belief is None else sign * float(belief.shown(reading.raw).max()))

        entries = sorted(entries, key=confidence)
    start = (min(page, pages) - 1) * TILES_A_PAGE
    return entries[start : start + TILES_A_PAGE]


def show_gallery(
    entries: list[Entry], shown: list[Entry], chosen: Entry, models: list[ModelInfo], answers: Visit, reading: Reading
) -> None:
    """The gallery, and what could not be read."""
    guessed = game("classify").rounds

    def tile(entry: Entry) -> dict:
        picture = answers.picture(entry)
        belief = answers.belief(entry, models[0]) if models else None
        if not isinstance(picture, Picture):
            return gallery.tile(entry.id, None, title=entry.name, note=picture or "") | {"name": entry.name}
        if belief is None or (reading.predict and entry.id not in guessed):
            return gallery.tile(entry.id, picture, title=entry.name) | {"name": entry.name}
        beliefs, members = belief.shown(reading.raw), belief.members(reading.level)
        best = CLASS_NAMES[int(beliefs.argmax())]
        title, color = f"{best} {percent(beliefs.max())}", CLASS_COLORS[best]
        said = "" if members is None else set_in_words(members, reading.level, at_most=3)
        if outside(belief):
            title, color, said = "None of the ten?", "", f"else {title}"
        return gallery.tile(entry.id, picture, title=title, note=entry.name, color=color) | {
            "extra": said,
            "name": entry.name,
        }

    def choose(identity: str) -> None:
        st.session_state[CHOSEN] = identity

    gallery.gallery(
        [tile(entry) for entry in shown],
        label="Pictures and their answers",
        key="gallery",
        selected=chosen.id,
        on_pick=choose,
        on_remove=own_pictures().remove,
        size="8.2rem",
    )
    broken = [message for entry in entries if isinstance(message := answers.picture(entry), str)]
    if broken:
        with st.expander(f"{len(broken)} of {len(entries)} files can't be read", expanded=True):
            for message in broken:
                st.error(message, icon=":material/broken_image:")
            if any(isinstance(message, Passing) for message in broken):
                st.button("Try again", on_click=answers.try_again, key="read_all_again", icon=":material/refresh:")
