"""The live view of Blend, which follows the slider in the browser."""

import numpy as np
import streamlit as st

from cifar_model.answering.answer import Answer
from cifar_model.app.browser.component import component
from cifar_model.app.shared.blend_state import Blend
from cifar_model.app.shared.guessing import Game
from cifar_model.app.shared.lens import CLASSES
from cifar_model.app.shared.media import address
from cifar_model.app.shared.names import short_name
from cifar_model.app.shared.reading import MANY, OUTSIDE, Reading, about_sets, outside, set_in_words
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.models.folder import ModelInfo
from cifar_model.pictures.winners import describe_changes, describe_gaps

live_blend = component("live_blend")

STEPS = 101  # frames of a sweep: ratio 0 to 100 %
COARSE = tuple(range(0, STEPS, 20))  # known first, so that the whole curve is there at once
OWN_COLORS = {"a": "#93A1FF", "b": "#8A8F98"}  # of pictures that are no sample, on the slider


def show_live(
    blend: Blend,
    sprite: bytes,
    models: list[ModelInfo],
    sweeps: list[Answer],
    known: list[int],
    reading: Reading,
    asked: tuple[Game, bytes] | None,
) -> None:
    """The part that lives in the browser. `asked`: the answers stay here until this round's guess has come."""
    names = {slot: short_name(picture.name) for slot, picture in blend.pictures.items()}
    complete = len(known) == STEPS

    def moved() -> None:
        ratio = st.session_state.live_blend.ratio
        if isinstance(ratio, int) and 0 <= ratio <= 100:
            blend.ratio = ratio

    def guessed() -> None:
        guess = st.session_state.live_blend.guess
        if asked and isinstance(guess, dict) and guess.get("class") in CLASS_NAMES:
            ratio = guess.get("ratio")
            if isinstance(ratio, int) and 0 <= ratio <= 100:
                blend.ratio = ratio
                playing, key = asked
                playing.commit(key, guess["class"], ratio)

    def flags(model: ModelInfo, sweep: Answer) -> bool:
        """Whether it tells other things; a divided answer is what one that learned from blends was taught for them."""
        return sweep.in_scope is not None and not model.card.learned_blends

    def about(model: ModelInfo, sweep: Answer) -> dict:
        if asked:
            return {"title": model.title}
        beliefs, members = sweep.shown(reading.raw), sweep.members(reading.level)
        changes = describe_changes(beliefs) if complete else "Computing the curve …"
        learned = model.card.learned_blends
        gaps = describe_gaps(beliefs, names["a"], names["b"], learned_blends=learned) if complete else []
        sets, said = [], []
        if members is not None:
            sets = [np.flatnonzero(row).tolist() for row in members]
            said = [set_in_words(row, reading.level, at_most=MANY) for row in members]
        return {
            "title": model.title,
            "name": model.name,
            "known": known,
            "probabilities": np.round(beliefs.astype(float), 5).tolist(),
            "sets": sets,
            "said": said,
            "outside": outside(sweep).tolist() if flags(model, sweep) else [],
            "strange": OUTSIDE,
            "changes": changes,
            "gaps": gaps,
            "description": f"Class probabilities by {model.title} from 0 to 100 % {names['a']}. {changes}",
        }

    def slot(which: str) -> dict:
        sample = blend.is_sample(which)
        return {"name": names[which], "color": CLASS_COLORS[names[which]] if sample else OWN_COLORS[which]}

    live_blend(
        key="live_blend",
        data={
            "sprite": address(sprite, "live_blend"),
            "ratio": blend.ratio,
            "version": blend.version,
            "a": slot("a"),
            "b": slot("b"),
            "classes": CLASSES,
            "level": reading.level,
            "question": "Which class will win?" if asked else "",
            "models": [about(model, sweep) for model, sweep in zip(models, sweeps, strict=True)],
        },
        on_ratio_change=moved,
        on_guess_change=guessed,
    )
    taught = [model.name for model in models if model.card.learned_blends]
    untaught = [model.name for model in models if not model.card.learned_blends]
    if taught and untaught:
        st.caption(
            f"{taught[0]} was trained on blends of two images, with their shares as the targets; {untaught[0]} has "
            "never seen a blend. Compare how their curves follow the ratio."
        )
    if any(sweep.sets is not None for sweep in sweeps) and not asked:
        st.caption(about_sets(reading.level) + " The strip below the curve shows it at every ratio.")
    if any(map(flags, models, sweeps)) and not asked:
        st.caption("Grey parts of the curve: there the mix looks like none of the ten classes.")
