"""Why an answer: where in a picture the evidence for a class lies, and the training images most alike to it."""

import numpy as np
import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.background import Task
from cifar_model.app.shared.discreet import discreet
from cifar_model.app.shared.page import guarded, offer_again, wait_for
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import DatasetError
from cifar_model.models.folder import ModelInfo
from cifar_model.pictures.encode import encode_png
from cifar_model.text import percent, share

SIDE = 224  # pixels of a picture on the screen, a multiple of 32
NEIGHBOURS = 8

# The colours of heat.overlay.
LEGEND = """<div style="font-size:0.85rem;opacity:0.85"><span style="display:inline-block;width:7rem;height:0.8rem;
border-radius:3px;vertical-align:-1px;margin-right:0.5rem;background:linear-gradient(to right,#404040,#D96C08,#FFEA75)">
</span>more evidence for the class</div>"""


@st.fragment
def explain_picture(pixels: np.ndarray, answers: list[tuple[ModelInfo, np.ndarray]], *, key: str) -> None:
    """For one picture: the evidence for a class that the visitor chooses, and what it is alike to.

    `answers`: each model with its probabilities (10,) as they are shown.
    """
    if not (panel := _panel("Why? Evidence in the image, and similar training images", "why")).open:
        return
    with panel, guarded():
        wait_for(resources.explaining(), st.empty())
        best = CLASS_NAMES[int(answers[0][1].argmax())]
        chosen = st.pills("Evidence for", CLASS_NAMES, default=best, required=True, wrap=True, key=f"why-{key}-{best}")
        index = CLASS_NAMES.index(chosen or best)
        with st.container(horizontal=True, gap="medium"):
            _picture(pixels, "What the network sees")
            for model, shown in answers:
                _evidence(pixels, model, index, float(shown[index]), titled=len(answers) > 1)
        _legend()
        for model, _ in answers:
            _nearest(pixels, model)


def explain_mix(pixels: np.ndarray, parents: list[int], answers: list[tuple[ModelInfo, np.ndarray]]) -> None:
    """For a mix: the evidence for the classes of both its pictures, and for the winner where that is a third.

    `answers`: each model with its probabilities (10,) as they are shown.
    """
    if not (panel := _panel("Why? Evidence for both images", "why_mix")).open:
        return
    with panel, guarded():
        wait_for(resources.explaining(), st.empty())
        for model, shown in answers:
            classes = dict.fromkeys((*parents, int(shown.argmax())))
            with st.container(horizontal=True, gap="medium"):
                _picture(pixels, "The mix")
                for index in classes:
                    _evidence(pixels, model, index, float(shown[index]), titled=len(answers) > 1)
        _legend()


def _panel(title: str, key: str):
    """A closed panel: what it shows is computed when it is opened."""
    return st.expander(title, key=key, on_change="rerun", icon=":material/troubleshoot:")


def _picture(pixels: np.ndarray, caption: str) -> None:
    st.image(encode_png(pixels, scale=SIDE // 32), caption=caption, width=SIDE, alt=caption)


def _evidence(pixels: np.ndarray, model: ModelInfo, index: int, probability: float, *, titled: bool) -> None:
    drawn = resources.explain(model.path, pixels, index)
    name = f"{CLASS_NAMES[index]} ({percent(probability)})" + (f", {model.name}" if titled else "")
    if drawn is None:
        _picture(pixels, f"No evidence here for {name}")
    else:
        st.image(drawn, caption=f"Evidence for {name}", width=SIDE, alt=f"Where the evidence for {name} lies")


def _legend() -> None:
    st.html(LEGEND)
    st.caption(
        "The brightest places are the strongest evidence for the class: hiding them costs it the most. Even "
        "an unlikely class has such places, however weak."
    )


def _nearest(pixels: np.ndarray, model: ModelInfo) -> None:
    st.markdown(f"**Similar training images**: those whose features in {model.name} are nearest")
    try:
        if resources.test_split() is None:
            return _wait(model, None)
    except DatasetError as error:
        st.caption(
            "CIFAR-10 is not on this machine, so there are no training images to show.", help=discreet(str(error))
        )
        offer_again(error, key=f"nearest_{model.name}")
        return None
    wanted = f"nearest_{model.name}"
    if not st.session_state.get(wanted) and not resources.neighbours_ready(model.path):
        st.button(
            "Search all training images", on_click=lambda: st.session_state.update({wanted: True}),
            icon=":material/image_search:", key=f"look_{model.name}",
            help="Each model has to process all of them once. This takes a few minutes, in the background.",
        )  # fmt: skip
        return None
    task = resources.neighbours(model.path)
    if task.running:
        return _wait(model, task)
    if task.error:
        st.error(task.error, icon=":material/error:")
        again = resources.try_neighbours_again
        st.button("Try again", on_click=again, args=(model.path,), icon=":material/refresh:", key=f"re_{model.name}")
        return None
    pictures, labels, alike = resources.nearest(model.path, pixels, NEIGHBOURS)
    captions = [f"{CLASS_NAMES[label]}, {share(part, 0)}" for label, part in zip(labels, alike, strict=True)]
    st.image([encode_png(picture, scale=3) for picture in pictures], caption=captions, width=96)
    st.caption("Per cent: cosine similarity of the network's features. An image that it trained on finds itself.")
    return None


def _wait(model: ModelInfo, task: Task | None) -> None:
    """Progress of what others may have started, until it is done."""

    @st.fragment(run_every=1.0)
    def progress() -> None:
        if task is None:
            st.progress(0.0, "Reading CIFAR-10 …")
            if resources.test_split() is not None:
                st.rerun()
        else:
            so_far = f"{task.done:,} of {task.total:,}" if task.done else "No"
            st.progress(task.done / task.total, f"{so_far} training images processed")
            if not task.running:
                st.rerun()

    progress()
