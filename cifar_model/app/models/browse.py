"""The test images behind a number: awaited, in a gallery, one opened."""

import numpy as np
import streamlit as st

from cifar_model.app.models.inside import follow
from cifar_model.app.models.link import OPENED
from cifar_model.app.shared import gallery as shared_gallery
from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import use_in_blend
from cifar_model.app.shared.discreet import discreet
from cifar_model.app.shared.lens import bars
from cifar_model.app.shared.page import offer_again
from cifar_model.app.workers.prepare import Picture
from cifar_model.classes import CLASS_NAMES
from cifar_model.data.sources import THREE_WAYS
from cifar_model.errors import DatasetError, LabError, ModelError
from cifar_model.pictures.encode import encode_png
from cifar_model.text import escape_markdown, percent
from cifar_model.trust.report import Report

TILE = "5.9rem"


def await_pictures() -> None:
    """Draw the page again once the test images have been read."""
    try:
        waiting = resources.test_split() is None
    except LabError:
        return
    if waiting:
        st.info("The test images are being read for the first time; they will appear here.",
                icon=":material/hourglass_top:")  # fmt: skip
        st.fragment(_watch, run_every=1.0)()


def _watch() -> None:
    try:
        waiting = resources.test_split() is None
    except LabError:
        waiting = False
    if not waiting:
        st.rerun()


class TestPictures:
    """The pictures that a model was scored on, found by content in the copy of CIFAR-10 that is at hand."""

    __test__ = False  # no test, for all its name

    def __init__(self, images: np.ndarray, places: np.ndarray):
        self._images, self._places = images, places

    def __getitem__(self, number: int) -> np.ndarray:
        """The picture of answer `number`: uint8 (32, 32, 3)."""
        return np.asarray(self._images[self._places[number]])

    def present(self, numbers: np.ndarray) -> np.ndarray:
        """Those of the answers `numbers` whose pictures are at hand."""
        return numbers[self._places[numbers] >= 0]


def test_pictures(report: Report, *, quiet: bool = False) -> TestPictures | None:
    """The test images that a model was scored on, or None, having said why (in few words if `quiet`)."""
    if report.answers is None:
        return None
    try:
        split = resources.test_split()
    except DatasetError as error:
        reason = discreet(str(error).removesuffix(THREE_WAYS).strip())
        if quiet:
            st.caption(f"The images can't be shown: {escape_markdown(reason)}")
        else:
            st.info(
                f"The images of this cell can't be shown. {escape_markdown(reason)}",
                icon=":material/image_not_supported:",
            )
            with st.expander("How to get CIFAR-10", icon=":material/download:"):
                st.markdown("In a terminal, or with the button on the Train page; then open this page again.")
                st.code(THREE_WAYS, "text", wrap_lines=True)
        offer_again(error, key="test_pictures")
        return None
    if split is None:
        st.caption("The test images are being read …")
        return None
    again = f"`python -m cifar_model assess {report.name}` scores it on these."
    try:
        places = report.answers.places(resources.test_fingerprints())
    except ModelError as error:
        st.info(f"{error} So none can be shown beside them. {again}", icon=":material/image_not_supported:")
        return None
    if (places < 0).all():
        st.info(
            f"None of the {len(places):,} test images that this model was scored on is in the copy of CIFAR-10 here "
            f"({len(split[1]):,} test images), so they can't be shown beside its answers. {again}",
            icon=":material/image_not_supported:",
        )
        return None
    return TestPictures(split[0], places)


def test_gallery(
    numbers: np.ndarray, pictures: TestPictures, tell, *, key: str, label: str, reports: list[Report], a_page: int = 18
) -> None:
    """Test images, some at a time; a click opens one. `tell`: number → title, note, colour of its tile."""
    if absent := len(numbers) - len(pictures.present(numbers)):
        st.caption(f"{absent:,} of these {len(numbers):,} are not in the copy of CIFAR-10 here, and are left out.")
        numbers = pictures.present(numbers)
    pages = -(-len(numbers) // a_page)
    page = st.pagination(pages, key=f"{key}_page", max_visible_pages=5) if pages > 1 else 1
    page = min(page, pages)
    shown = numbers[(page - 1) * a_page : page * a_page]

    def tile(number: int) -> dict:
        title, note, color = tell(number)
        return {
            "id": str(number), "src": encode_png(pictures[number]), "alt": f"Test image {number}: {note}, {title}",
            "title": title, "note": note, "color": color, "exact": True, "whole": False, "failed": False,
        }  # fmt: skip

    def pick(identity: str) -> None:
        st.session_state[OPENED] = key, int(identity)

    tiles = [tile(int(number)) for number in shown]
    shared_gallery.gallery(tiles, label=label, key=key, selected=None, on_pick=pick, size=TILE)
    gallery, number = st.session_state.get(OPENED, (None, 0))
    if gallery == key and number in shown:
        _open_picture(number, pictures, reports)


def _close() -> None:
    st.session_state.pop(OPENED, None)


@st.dialog("A test image", on_dismiss=_close, width="medium")
def _open_picture(number: int, pictures: TestPictures, reports: list[Report]) -> None:
    """One test image, large, with all that was answered, and where to take it."""
    pixels = pictures[number]
    truth = CLASS_NAMES[reports[0].answers.labels[number]]
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        st.image(encode_png(pixels, scale=8), width=256, alt=f"Test image {number}: {truth}")
        st.markdown(f"Labelled **{truth}**  \n:small[test image {number}, 32 × 32 pixels]")
    with right:
        for report in reports:
            belief = report.probabilities[number]
            best = CLASS_NAMES[int(belief.argmax())]
            st.markdown(f":small[{escape_markdown(report.name)}]  \n**{best} · {percent(float(belief.max()))}**")
            bars(belief, label=f"Probabilities by {report.name}", key=f"models_bars_{report.name}")
    with st.container(horizontal=True):
        ways = {"a": "as the first image", "b": "as the second image"}
        slot = st.menu_button("Use in Blend", list(ways), format_func=ways.get, icon=":material/gradient:")
        if slot:
            _close()
            picture = encode_png(pixels, scale=8)
            use_in_blend(slot, Picture(f"{truth}, test {number}", 32, 32, picture, picture, pixels))
        if st.button("Follow it through the network", icon=":material/layers:"):
            _close()
            follow(f"{truth}, test image {number}", pixels)
            st.rerun()
