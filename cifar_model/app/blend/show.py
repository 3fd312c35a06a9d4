"""What Blend shows of a mix: the live view, the guess, the evidence, the downloads."""

import time
from contextlib import ExitStack

import numpy as np
import streamlit as st

from cifar_model.answering.answer import Answer
from cifar_model.app.blend.choose import choose_blend
from cifar_model.app.blend.downloads import show_downloads
from cifar_model.app.blend.live import COARSE, STEPS, show_live
from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import Blend, write_blend_link
from cifar_model.app.shared.guessing import Game, game, show_foresight
from cifar_model.app.shared.page import guarded, wait_for
from cifar_model.app.shared.parts import shows
from cifar_model.app.shared.reading import Reading
from cifar_model.app.shared.sweeping import Sweep
from cifar_model.app.shared.why import explain_mix
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo

PATIENCE = 0.1  # seconds for a third of the curve; what takes longer is shown coarsely first
LOOK_SECONDS = 0.5  # between two words on how far it is


@st.fragment
@guarded()
def show_blend(blend: Blend, models: list[ModelInfo], reading: Reading) -> None:
    """The choice of pictures, and what becomes of their mix; of the page only this is drawn again for another blend."""
    _show_mix(blend, choose_blend(blend), models, reading)


@st.fragment
def _show_mix(blend: Blend, mode: str, models: list[ModelInfo], reading: Reading) -> None:
    """The mixed picture, the beliefs and the curves, all of which follow the slider in the browser alone."""
    with guarded():
        frames, sprite = resources.mix(blend.pictures["a"].pixels, blend.pictures["b"].pixels, mode)
        playing, key = game("blend"), frames.tobytes()
        hidden = reading.predict and key not in playing.rounds
        place, note = st.container(), st.empty()
        with place:
            if models and not resources.answering().wait(0):
                waiting = st.empty()
                show_live(blend, sprite, [], [], [], reading, None)  # the mix needs no network
                wait_for(resources.answering(), waiting)
                st.rerun()
            with ExitStack() as stack:
                asked = [stack.enter_context(resources.sweep(model.path, frames)) for model in models]
                known = list(range(STEPS))
                complete = _all(asked, PATIENCE)
                if not complete and sum(sweep.done for sweep in asked) >= STEPS * len(asked) // 3:
                    complete = _all(asked, 2 * PATIENCE)  # it is nearly there
                if complete:
                    sweeps = [sweep.answer() for sweep in asked]
                else:
                    known = sorted({*COARSE, blend.ratio})
                    sweeps = [resources.ask(model.path, frames[known]) for model in models]
                if reading.predict and complete:
                    _guessed(playing, key, models, sweeps)
                show_live(blend, sprite, models, sweeps, known, reading, (playing, key) if hidden else None)
                write_blend_link(blend, mode, [model.name for model in models])
                while not complete:
                    complete = _all(asked, LOOK_SECONDS)
                    done = sum(sweep.done for sweep in asked)
                    note.caption(f"{done} of {STEPS * len(models)} mixes classified")
            if len(known) < STEPS:
                st.rerun()
        if models and not hidden and shows("why"):
            _why(blend, frames, models, sweeps, reading)
        if shows("downloads"):
            show_downloads(blend, frames, models, sweeps, reading, hidden)


def _all(sweeps: list[Sweep], seconds: float) -> bool:
    """Whether all are answered, at the latest after so many seconds."""
    end = time.monotonic() + seconds
    return all([sweep.wait(max(0.0, end - time.monotonic())) for sweep in sweeps])


def _guessed(playing: Game, key: bytes, models: list[ModelInfo], sweeps: list[Answer]) -> None:
    """The score, and what came of this blend's guess once there is one."""
    if key in playing.rounds:
        guess, ratio = playing.rounds[key].guess, playing.rounds[key].ratio
        said = {m.name: CLASS_NAMES[int(s.probabilities[ratio].argmax())] for m, s in zip(models, sweeps, strict=True)}
        playing.rounds[key].answers |= said
    show_foresight(playing, models)
    if key in playing.rounds:
        winners = ", ".join(f"{model} says **{answer}**" for model, answer in said.items())
        st.markdown(f"At {ratio} % you said **{guess}**, {winners}. “Shuffle” brings the next blend.")
    else:
        st.markdown("Move the slider to any ratio, then say which class will win there.")


def _why(blend: Blend, frames: np.ndarray, models: list[ModelInfo], sweeps: list[Answer], reading: Reading) -> None:
    """Explanations for both pictures' classes: a sample's own, of another what the first model takes it for."""
    parents = [
        CLASS_NAMES.index(blend.pictures[slot].name)
        if blend.is_sample(slot)
        else int(sweeps[0].probabilities[end].argmax())
        for slot, end in (("a", -1), ("b", 0))
    ]
    answers = [(m, s[blend.ratio].shown(reading.raw)) for m, s in zip(models, sweeps, strict=True)]
    explain_mix(frames[blend.ratio], parents, answers)
