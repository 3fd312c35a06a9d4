"""How far an answer can be trusted: the single answer, the answer set, and "none of my ten"."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from cifar_model.answering.answer import Answer
from cifar_model.app.shared.lens import SOFTMAX, bars
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo
from cifar_model.text import percent
from cifar_model.trust.answer_sets import describe_set


def classes_of(members: np.ndarray | None) -> str | None:
    """An answer set bool (10,) in a table's cell: the names of its classes, parted by spaces."""
    return None if members is None else " ".join(CLASS_NAMES[i] for i in np.flatnonzero(members))


OUTSIDE = "This does not look like any of the ten classes"
DEFAULT_LEVEL = 95
MANY = 4  # classes that are still named one by one on the way along a sweep


@dataclass(frozen=True)
class Reading:
    """How a visitor wants answers to be shown, on Classify and Blend alike."""

    level: int = DEFAULT_LEVEL  # of the answer sets, one of LEVELS
    raw: bool = False
    predict: bool = False  # guess before the answer is shown


def fitted(model: ModelInfo, part: str) -> bool:
    """Whether a part of its card ("sets", "calibration") was fitted for this very network; an epoch's file has none."""
    return model.kind != "epoch" and getattr(model.card, part) is not None


def about_sets(level: int | str) -> str:
    """What an answer set is, in one line."""
    share = f"{level} of 100 times" if isinstance(level, int) else "that often"
    return (
        f"The answer set holds every class that can't be ruled out: over many images of the ten classes it contains "
        f"the true class {share}. One class: the network is sure. Several: it is torn. None: not sure of any."
    )


def outside(belief: Answer) -> bool | np.ndarray:
    """Whether images look like none of the ten classes, as far as the model can tell."""
    return False if belief.in_scope is None else ~belief.in_scope


def set_in_words(members: np.ndarray, level: int, *, at_most: int = len(CLASS_NAMES)) -> str:
    """An answer set bool (10,) as "cat or dog (95 %)"; of more than `at_most` classes only their number."""
    count = int(members.sum())
    return describe_set(members, level) if count <= at_most else f"{count} of the ten classes ({level} %)"


def show_belief(belief: Answer, model: ModelInfo, reading: Reading) -> None:
    """What one model makes of one image: its answer, the set, and ten bars, greyed when it is none of the ten."""
    shown, members, stranger = belief.shown(reading.raw), belief.members(reading.level), bool(outside(belief))
    best = int(shown.argmax())
    answer = f"{CLASS_NAMES[best]} · {percent(shown[best])}"
    with st.container(gap=None):
        st.caption(model.title)
        st.subheader(OUTSIDE if stranger else answer, anchor=False)
        if stranger:
            st.caption(f"Forced to choose among the ten, the network says: {answer}.")
        if members is not None:
            words = set_in_words(members, reading.level)
            st.markdown(f":gray[Set: {words}]" if stranger else f"Set: **{words}**")
    said = ", ".join(f"{CLASS_NAMES[i]} {percent(shown[i])}" for i in np.argsort(-shown)[:3])
    label = f"Probabilities by {model.title}: {said}" + (f". {OUTSIDE}" if stranger else "")
    bars(shown, label=label, key=f"bars-{model.name}", muted=stranger)


def notes(beliefs: list[Answer], reading: Reading) -> None:
    """One line a matter below the answers: what the bars are, what the sets are."""
    st.caption(SOFTMAX)
    if any(belief.sets is not None for belief in beliefs):
        st.caption(about_sets(reading.level))
