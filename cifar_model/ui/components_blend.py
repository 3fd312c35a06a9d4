"""The parts of the Blend page: the two pictures, the live view that follows the slider, the downloads."""

import csv
import functools
import io
import random

import numpy as np
import streamlit as st

from cifar_model.blending import MODES, describe_changes, describe_sweep
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.images import IMAGE_SUFFIXES, encode_png
from cifar_model.models import ModelInfo
from cifar_model.ui import components, components_predict, components_trust, resources
from cifar_model.ui.answers import classes_of
from cifar_model.ui.components_ambiguous import MODE_NAMES
from cifar_model.ui.components_trust import Reading
from cifar_model.ui.components_why import explain_mix
from cifar_model.ui.jobs import Beliefs
from cifar_model.ui.state import Blend, write_link

STEPS = 101  # frames of a sweep: ratio 0 to 100 %
COARSE = tuple(range(0, STEPS, 10))  # known first, so that the whole curve is there at once
PRESETS = (("cat", 40, "dog"), ("deer", 60, "horse"), ("automobile", 50, "truck"), ("airplane", 50, "bird"))
SLOTS = {"a": "First picture", "b": "Second picture"}
OWN_COLORS = {"a": "#93A1FF", "b": "#8A8F98"}  # of pictures that are no sample, on the slider


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
        reading = components_trust.choose_reading(models)
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
    components.sample_gallery(
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


@st.fragment
def show_blend(blend: Blend, mode: str, models: list[ModelInfo], reading: Reading) -> None:
    """The mixed picture, the beliefs and the curves, all of which follow the slider in the browser alone."""
    with components.guarded():
        frames, sprite = resources.mix(blend.pictures["a"].pixels, blend.pictures["b"].pixels, mode)
        playing, key = components_predict.game("blend"), frames.tobytes()
        hidden = reading.predict and key not in playing.rounds
        place, note = st.container(), st.empty()
        with place:
            if models and not resources.answering().wait(0):
                waiting = st.empty()
                _live(blend, sprite, [], [], [], reading, None)  # the mix needs no network
                components.wait_for(resources.answering(), waiting)
                st.rerun()
            sweeps = [resources.known_sweep(model.path, frames) for model in models]
            known = list(range(STEPS))
            complete = all(sweep is not None for sweep in sweeps)
            if not complete:
                known = sorted({*COARSE, blend.ratio})
                sweeps = [resources.ask(model.path, frames[known]) for model in models]
            if reading.predict and complete:
                _guessed(playing, key, models, sweeps)
            _live(blend, sprite, models, sweeps, known, reading, (playing, key) if hidden else None)
        write_link(blend, mode, [model.name for model in models])
        if not complete:
            for model in models:
                for done in resources.compute_sweep(model.path, frames):
                    note.caption(f"{model.title}: {done} of {STEPS} mixes answered")
            st.rerun()
        if models and not hidden:
            _why(blend, frames, models, sweeps, reading)
        _downloads(blend, frames, models, sweeps, reading, hidden)


def _guessed(playing: components_predict.Game, key: bytes, models: list[ModelInfo], sweeps: list[Beliefs]) -> None:
    """The score, and what came of this blend's guess once there is one."""
    if key in playing.rounds:
        guess, ratio = playing.rounds[key].guess, playing.rounds[key].ratio
        said = {m.name: CLASS_NAMES[int(s.probabilities[ratio].argmax())] for m, s in zip(models, sweeps, strict=True)}
        playing.rounds[key].answers |= said
    components_predict.show_foresight(playing, models)
    if key in playing.rounds:
        winners = ", ".join(f"{model} says **{answer}**" for model, answer in said.items())
        st.markdown(f"At {ratio} % you said **{guess}**, {winners}. “Shuffle” gives the next blend.")
    else:
        st.markdown("Move the slider where you like, then say which class will win there.")


def _why(blend: Blend, frames: np.ndarray, models: list[ModelInfo], sweeps: list[Beliefs], reading: Reading) -> None:
    """Explanations for both pictures' classes: a sample's own, of another what the first model takes it for."""
    parents = [
        CLASS_NAMES.index(blend.pictures[slot].name)
        if blend.is_sample(slot)
        else int(sweeps[0].probabilities[end].argmax())
        for slot, end in (("a", -1), ("b", 0))
    ]
    answers = [(m, s[blend.ratio].shown(reading.raw)) for m, s in zip(models, sweeps, strict=True)]
    explain_mix(frames[blend.ratio], parents, answers)


def _live(
    blend: Blend,
    sprite: str,
    models: list[ModelInfo],
    sweeps: list[Beliefs],
    known: list[int],
    reading: Reading,
    asked: tuple[components_predict.Game, bytes] | None,
) -> None:
    """The part that lives in the browser. `asked`: the answers stay here until this round's guess has come."""
    names = {slot: _short(picture.name) for slot, picture in blend.pictures.items()}
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

    def about(model: ModelInfo, sweep: Beliefs) -> dict:
        if asked:
            return {"title": model.title}
        # The two sentences of describe_sweep: the changes, which hold for all ratios, then the gap at one.
        beliefs, members = sweep.shown(reading.raw), sweep.members(reading.level)
        changes = describe_changes(beliefs) if complete else "Computing the curve …"
        gaps = []
        if complete:
            for step in range(STEPS):
                said = describe_sweep(beliefs, step / 100, names["a"], names["b"])
                gaps.append(said.removeprefix(changes).strip())
        sets, said = [], []
        if members is not None:
            sets = [np.flatnonzero(row).tolist() for row in members]
            said = [components_trust.set_in_words(row, reading.level, at_most=components_trust.MANY) for row in members]
        return {
            "title": model.title,
            "known": known,
            "probabilities": np.round(beliefs.astype(float), 5).tolist(),
            "sets": sets,
            "said": said,
            "outside": [] if sweep.in_scope is None else components_trust.outside(sweep).tolist(),
            "strange": components_trust.OUTSIDE,
            "changes": changes,
            "gaps": gaps,
            "description": f"What {model.title} believes from 0 to 100 % {names['a']}. {changes}",
        }

    def slot(which: str) -> dict:
        sample = blend.is_sample(which)
        return {"name": names[which], "color": CLASS_COLORS[names[which]] if sample else OWN_COLORS[which]}

    components.live_blend(
        key="live_blend",
        data={
            "sprite": sprite,
            "ratio": blend.ratio,
            "version": blend.version,
            "a": slot("a"),
            "b": slot("b"),
            "classes": components.CLASSES,
            "level": reading.level,
            "question": "Which class will win?" if asked else "",
            "models": [about(model, sweep) for model, sweep in zip(models, sweeps, strict=True)],
        },
        on_ratio_change=moved,
        on_guess_change=guessed,
    )
    if any(sweep.sets is not None for sweep in sweeps) and not asked:
        st.caption(components_trust.about_sets(reading.level) + " The strip below each curve shows it along the way.")
    if any(sweep.in_scope is not None for sweep in sweeps) and not asked:
        st.caption("Grey parts of a curve: there the mix looks like none of the ten classes.")


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:11] + "…" + name[-12:]


def _downloads(
    blend: Blend, frames: np.ndarray, models: list[ModelInfo], sweeps: list[Beliefs], reading: Reading, hidden: bool
) -> None:
    names = (_short(blend.pictures["a"].name), _short(blend.pictures["b"].name))
    stem = "-".join(["blend", *("".join(c if c.isalnum() else "_" for c in name) for name in names), str(blend.ratio)])

    def save(label: str, make, suffix: str, mime: str) -> None:
        # Made when clicked, not with every run of the page.
        st.download_button(label, make, stem + suffix, mime, icon=":material/download:", on_click="ignore")

    with st.container(horizontal=True):
        save("Mixed picture (PNG)", lambda: encode_png(frames[blend.ratio]), ".png", "image/png")
        if not models or hidden:
            return
        save("Sweep (CSV)", lambda: _csv(models, sweeps, reading), ".csv", "text/csv")

        def chart(model: ModelInfo, sweep: Beliefs, suffix: str) -> bytes:
            title = f"Answers of {model.title}"
            shown = sweep.shown(reading.raw)
            return resources.drawing().call("draw_sweep", suffix, shown, names, blend.ratio / 100, title)

        for model, sweep in zip(models, sweeps, strict=True):
            label = "Chart" if len(models) == 1 else f"Chart of {model.name}"
            for suffix, mime in ((".png", "image/png"), (".svg", "image/svg+xml")):
                make = functools.partial(chart, model, sweep, suffix)
                save(f"{label} ({suffix[1:].upper()})", make, f"-{model.name}{suffix}", mime)
    st.caption(components.SOFTMAX)
    own = [slot for slot in SLOTS if not blend.is_sample(slot)]
    if own:
        st.caption(
            "The link in the address bar holds the ratio, the way to mix and the models, "
            "but not your own pictures: they stay with this visit."
        )
    else:
        st.caption("The link in the address bar opens this very blend.")


def _csv(models: list[ModelInfo], sweeps: list[Beliefs], reading: Reading) -> bytes:
    """Rows of model, ratio (share of the first picture, 0 to 1), ten probabilities, and what else a model can say."""
    text = io.StringIO()
    writer = csv.writer(text)
    has_sets = any(sweep.sets is not None for sweep in sweeps)
    has_scope = any(sweep.scope is not None for sweep in sweeps)
    writer.writerow(
        ["model", "ratio", *CLASS_NAMES, *(["set"] if has_sets else []), *(["scope", "in_scope"] if has_scope else [])]
    )
    for model, sweep in zip(models, sweeps, strict=True):
        for step in range(len(sweep)):
            belief = sweep[step]
            row = [model.name, step / 100, *(f"{p:.6f}" for p in belief.shown(reading.raw))]
            if has_sets:
                row.append(classes_of(belief.members(reading.level)))
            if has_scope:
                row += [None, None] if belief.scope is None else [f"{belief.scope:.6f}", bool(belief.in_scope)]
            writer.writerow(row)
    return text.getvalue().encode()
