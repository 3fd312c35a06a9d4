"""The answers on Classify, one picture's or many."""

import time

import streamlit as st

from cifar_model.app.classify.answers import CENTRE, Entry, Passing, Visit
from cifar_model.app.classify.many import show_gallery, toolbar
from cifar_model.app.classify.table import show_table
from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import use_in_blend
from cifar_model.app.shared.guessing import ask_guess, game, show_round, show_score
from cifar_model.app.shared.lens import lens
from cifar_model.app.shared.page import guarded, wait_for
from cifar_model.app.shared.parts import shows
from cifar_model.app.shared.reading import Reading, notes, show_belief
from cifar_model.app.shared.why import explain_picture
from cifar_model.app.workers.prepare import Picture
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo

AT_A_TIME = 6  # pictures decoded before their answers are shown
SECONDS_A_RUN = 0.5  # of work between two updates of the page


def show_answers(chosen: Entry, own: list[Entry], models: list[ModelInfo], answers: Visit, reading: Reading) -> None:
    """Everything below the choice of pictures; works for half a second, shows what there is, and goes on."""
    playing = game("classify")
    score = st.container()  # filled last, for the round that is shown below counts
    _one(chosen, models, answers, reading)
    if reading.predict:
        with score:
            show_score(playing, models)
    if len(own) < 2:
        return
    progress = st.empty()
    with st.container():
        shown = toolbar(own, models, answers, reading)
    wait_for(resources.answering(), progress)
    started = time.monotonic()
    # What is on the screen comes first.
    waiting = answers.missing(shown, models) + answers.missing([e for e in own if e not in shown], models)
    worked = bool(waiting)
    jobs = answers.start(waiting[:AT_A_TIME])
    try:
        while waiting:
            done = len(own) - len(waiting)
            progress.progress(done / len(own), f"{done} of {len(own)} pictures classified")
            if time.monotonic() - started > SECONDS_A_RUN:
                break
            part, waiting = waiting[:AT_A_TIME], waiting[AT_A_TIME:]
            answers.collect(jobs)
            jobs = answers.start(waiting[:AT_A_TIME])  # read by one process while the other answers
            answers.ask(part, models)
        answers.collect(jobs)
    finally:  # a visitor who has left, or clicked elsewhere, wants none of them
        for job in jobs.values():
            job.cancel()
    show_gallery(own, shown, chosen, models, answers, reading)
    if waiting or worked:  # once more at the end, for the strip above
        st.rerun()
    progress.empty()
    readable = [entry for entry in own if isinstance(answers.picture(entry), Picture)]
    if reading.predict and any(entry.id not in playing.rounds for entry in readable):
        st.caption("The table of all answers appears once all pictures are guessed, or without “Predict first”.")
    elif shows("table"):
        show_table(own, models, answers, reading)


def _one(entry: Entry, models: list[ModelInfo], answers: Visit, reading: Reading) -> None:
    """One picture: what arrived, what the network sees, what each model believes, and why."""
    picture = answers.picture(entry)
    if isinstance(picture, str):
        st.error(picture, icon=":material/broken_image:")
        if isinstance(picture, Passing):
            st.button("Try again", on_click=answers.try_again, key="read_again", icon=":material/refresh:")
        return
    playing = game("classify")
    hidden = reading.predict and entry.id not in playing.rounds

    def move(position: float) -> None:
        answers.positions[entry.id] = position

    left, right = st.columns([1.15, len(models) or 1], gap="medium")
    with left:
        position = answers.positions.get(entry.id, CENTRE)
        name = "a sample" if hidden and entry.truth else None
        lens(picture, position, key=f"lens-{entry.id}", on_move=move, name=name)
        for note in picture.notes:
            st.caption(f":material/info: {note}")
    below = st.container()
    with below:
        ways = {"a": "as the first image", "b": "as the second image"}
        slot = st.menu_button(
            "Use in Blend", list(ways), format_func=ways.get, icon=":material/gradient:", key="use_in_blend"
        )
    if slot:
        use_in_blend(slot, picture)
    if not models:
        return
    with right, guarded():
        wait_for(resources.answering(), st.empty())
        answers.ask([entry], models)
        beliefs = [answers.belief(entry, model) for model in models]
        if hidden:
            ask_guess(playing, entry.id)
            return
        if reading.predict:
            said = {m.name: CLASS_NAMES[int(b.probabilities.argmax())] for m, b in zip(models, beliefs, strict=True)}
            show_round(playing, entry.id, said, entry.truth)
        for column, model, belief in zip(st.columns(len(models), gap="medium"), models, beliefs, strict=True):
            with column:
                show_belief(belief, model, reading)
        notes(beliefs, reading)
    if shows("why") and all(answers.belief(entry, model) is not None for model in models):
        shown = [(model, belief.shown(reading.raw)) for model, belief in zip(models, beliefs, strict=True)]
        explain_picture(picture.pixels, shown, key=entry.id)
