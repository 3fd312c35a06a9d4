"""What Blend shows of a mix: the live view, the guess, the evidence, the downloads."""

import time

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
from cifar_model.pictures.mix import SYMMETRIC

FINE = [step for step in range(STEPS) if step not in COARSE]
IN_ORDER = np.argsort([*COARSE, *FINE])
PATIENCE = 0.3  # seconds for the whole curve; what will take longer is shown coarsely first
GLANCE = 0.05  # seconds after which that can be told
QUICK = 0.02  # seconds for the coarse answers of a network that nobody else asks
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
        a, b = (blend.pictures[slot].pixels for slot in ("a", "b"))
        frames, sprite = resources.mix(a, b, mode)
        # Asked for in one order: two pictures and the same two swapped are one sweep, where the way to mix allows it.
        way = -1 if mode in SYMMETRIC and a.tobytes() > b.tobytes() else 1
        playing, key = game("blend"), frames.tobytes()
        hidden = reading.predict and key not in playing.rounds
        with st.container():
            if models and not resources.answering().wait(0):
                waiting = st.empty()
                show_live(blend, sprite, [], [], [], reading, None)  # the mix needs no network
                wait_for(resources.answering(), waiting)
                st.rerun()
            began = time.monotonic()
            coarse = [resources.ask(model.path, frames[::way][[*COARSE]])[::way] for model in models]
            quick = time.monotonic() - began < QUICK * len(models)
            asked = resources.look_at_sweeps(models, frames[::way][FINE])
            complete = _soon(asked) if quick else _all(asked, 0)

            def whole() -> list[Answer]:
                return _joined(coarse, [sweep.answer()[::way] for sweep in asked], IN_ORDER)

            if complete:
                known, sweeps = list(range(STEPS)), whole()
            else:
                known, sweeps = [*COARSE], coarse
                if blend.ratio not in COARSE:
                    now = [resources.ask(model.path, frames[[blend.ratio]]) for model in models]
                    sweeps = _joined(coarse, now, np.argsort([*COARSE, blend.ratio]))
                    known = sorted([*COARSE, blend.ratio])
            if reading.predict and complete:
                _guessed(playing, key, models, sweeps)
            show_live(blend, sprite, models, sweeps, known, reading, (playing, key) if hidden else None)
            write_blend_link(blend, mode, [model.name for model in models])
        if models and not hidden and shows("why"):
            _why(blend, frames[blend.ratio], models, sweeps, known.index(blend.ratio), reading)
        if shows("downloads"):
            show_downloads(blend, frames, models, whole, reading, hidden)
        if not complete:  # last, so that nothing moves when it is gone
            st.fragment(_wait, run_every=LOOK_SECONDS)(asked, len(COARSE))


def _joined(some: list[Answer], others: list[Answer], order: np.ndarray) -> list[Answer]:
    """Of each model what it was asked in two parts, in the order of the ratios."""
    return [Answer.join(parts)[order] for parts in zip(some, others, strict=True)]


@guarded()
def _wait(asked: list[Sweep], known: int) -> None:
    """Say how far the sweeps are, and draw the page again once they are complete. `known`: frames answered before."""
    if _all(asked, 0):
        st.rerun()
    total = sum(known + len(sweep) for sweep in asked)
    st.caption(f"{sum(known + sweep.done for sweep in asked)} of {total} mixes classified")


def _all(sweeps: list[Sweep], seconds: float) -> bool:
    """Whether all are answered, at the latest after so many seconds."""
    end = time.monotonic() + seconds
    return all([sweep.wait(max(0.0, end - time.monotonic())) for sweep in sweeps])


def _soon(sweeps: list[Sweep]) -> bool:
    """Whether all are answered within `PATIENCE`; waits no longer than it takes to see that they won't be."""
    if _all(sweeps, GLANCE):
        return True
    done, frames = sum(sweep.done for sweep in sweeps), sum(map(len, sweeps))
    return GLANCE * frames <= PATIENCE * done and _all(sweeps, PATIENCE - GLANCE)


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


def _why(
    blend: Blend, mixed: np.ndarray, models: list[ModelInfo], sweeps: list[Answer], now: int, reading: Reading
) -> None:
    """Explanations for both pictures' classes: a sample's own, of another what the first model takes it for.

    `now`: where in the sweeps the mix's answer is.
    """
    parents = [
        CLASS_NAMES.index(blend.pictures[slot].name)
        if blend.is_sample(slot)
        else int(sweeps[0].probabilities[end].argmax())
        for slot, end in (("a", -1), ("b", 0))
    ]
    explain_mix(mixed, parents, [(m, s[now].shown(reading.raw)) for m, s in zip(models, sweeps, strict=True)])
