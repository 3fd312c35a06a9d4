"""Where pictures come from: files, a folder, the camera, the samples; and the visitor's own, to click."""

import streamlit as st

from cifar_model.app.classify.answers import Entry, Visit
from cifar_model.app.classify.own import CHOSEN, Own, own_pictures
from cifar_model.app.shared.gallery import gallery, sample_gallery, tile
from cifar_model.app.shared.names import plain_name
from cifar_model.app.shared.page import guarded
from cifar_model.app.shared.parts import shows
from cifar_model.app.shared.remembered import kept_widget
from cifar_model.app.shared.taken import take_in
from cifar_model.app.shared.uploads import MOST_BYTES, MOST_FILES, arrivals, refused_uploads
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo

WAYS = {"files": "Files", "folder": "Folder", "camera": "Camera"}
TILE = "5.3rem"
STRIP = 30  # own pictures in the strip; all of them are in the gallery below
ARRIVED = "pictures_arrived"  # session key: some have come since the page was drawn
SAMPLE = "sample-"  # begins the id of a sample photograph


def choose_pictures(answers: Visit, models: list[ModelInfo]) -> tuple[Entry, list[Entry]]:
    """The picture that is looked at, and all of the visitor's own."""
    state, own = st.session_state, own_pictures()
    if CHOSEN not in state:
        wanted = st.query_params.get("sample")
        state[CHOSEN] = SAMPLE + (wanted if wanted in CLASS_NAMES else "dog")
    if taken := take_in():
        own.add([(taken.id, taken.name, taken.data)])
        _choose(taken.id)
    if shows("own"):
        _add(own)
    mine = own.entries()
    if state[CHOSEN] not in own.files and not state[CHOSEN].startswith(SAMPLE):  # taken away
        state[CHOSEN] = mine[0].id if mine else SAMPLE + "dog"
    picked = state[CHOSEN].removeprefix(SAMPLE)
    chosen = next((entry for entry in mine if entry.id == state[CHOSEN]), None)
    chosen = chosen or Entry(state[CHOSEN], picked, None)
    answers.forget_all_but(mine, chosen, models)
    answers.look_at(chosen)
    left, right = st.columns([1.25, 1], gap="small") if mine else (st.container(), None)
    if shows("samples"):
        with left:
            # Whoever is to guess first isn't told by a name.
            sample_gallery(
                key="samples", selected=picked if chosen.truth else None, on_pick=lambda name: _choose(SAMPLE + name),
                size=TILE, secret=bool(state.get("predict")),
            )  # fmt: skip
    if right:
        with right:
            _strip(mine, own, answers)
    _tell_left_out(own)
    return chosen, mine


def _tell_left_out(own: Own) -> None:
    """What of the last lot was not taken in, and why."""
    if own.left_out:
        count = len(own.left_out)
        names = ", ".join(own.left_out[:3]) + (", …" if count > 3 else "")
        st.caption(
            f"Left out: {count:,} file{'' if count == 1 else 's'}, no picture{'' if count == 1 else 's'} "
            f"({plain_name(names)})."
        )
    if beyond := own.beyond:
        st.warning(
            f"Left out: {beyond:,} file{'' if beyond == 1 else 's'} beyond the {MOST_FILES} pictures and "
            f"{MOST_BYTES // 10**6} MB of one visit. Remove some to make room; the command line takes any number: "
            "`python -m cifar_model classify FOLDER`.",
            icon=":material/photo_library:",
        )
    if own.unwritten:
        st.error(f"Not all pictures could be kept: {own.unwritten}.", icon=":material/disc_full:")


def _choose(identity: str) -> None:
    st.session_state[CHOSEN] = identity


@st.fragment
@guarded()
def _add(own: Own) -> None:
    """The row that takes pictures in; the rest of the page is drawn again only when some have come."""

    def arrived(key: str) -> None:
        files = arrivals(st.session_state[key])
        if not files:
            return
        if key == "photo":
            number = 1 + sum(file.name.startswith("photo-") for file in own.files.values())
            files = [(identity, f"photo-{number}.jpg", data) for identity, _, data in files]
        if added := own.add(files):
            _choose(added[0])
        own.beyond += refused_uploads()
        st.session_state[ARRIVED] = True

    if st.session_state.pop(ARRIVED, False):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key="adding_pictures"):
        way = kept_widget(
            st.segmented_control, "Add your own pictures from", list(WAYS), format_func=WAYS.get, default="files",
            required=True, key="way", label_visibility="collapsed", width="content",
        )  # fmt: skip
        if way == "camera":
            st.camera_input(
                "Take a picture", key="photo", on_change=arrived, args=("photo",), width=320,
                label_visibility="collapsed",
            )  # fmt: skip
        else:
            # Any type: what the browser would refuse by its name gets an answer of ours, with what to do.
            st.file_uploader(
                "Drop pictures here: one, many or a whole folder" if way == "files" else "Choose a folder",
                accept_multiple_files=True if way == "files" else "directory",
                key=f"uploads_{way}", on_change=arrived, args=(f"uploads_{way}",), label_visibility="collapsed",
            )  # fmt: skip


def _strip(mine: list[Entry], own: Own, answers: Visit) -> None:
    def picture_tile(entry: Entry) -> dict:
        picture = answers.picture(entry)
        if isinstance(picture, str):
            return tile(entry.id, None, title=entry.name, note=" ") | {"alt": picture}
        return tile(entry.id, picture, title=entry.name) | {"alt": entry.name}

    gallery(
        [picture_tile(entry) | {"name": entry.name} for entry in mine[:STRIP]],
        label="Your pictures", key="own", selected=st.session_state[CHOSEN], on_pick=_choose, on_remove=own.remove,
        size=TILE, strip=True,
    )  # fmt: skip
