"""Predict first: a guess is committed before the network's answer is shown, and a score is kept."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

import streamlit as st

from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo


@dataclass
class Round:
    """A picture, or a blend, that was guessed. The truth is None where nobody has said it."""

    guess: str
    ratio: int | None = None  # of a blend, per cent of the first picture
    answers: dict[str, str] = field(default_factory=dict)  # by model's name: the class that it gives
    truth: str | None = None


class Game:
    """A visit's rounds, by picture or blend: each is guessed once, and what was guessed stays."""

    def __init__(self) -> None:
        self.rounds: dict[Hashable, Round] = {}

    def commit(self, key: Hashable, guess: str, ratio: int | None = None) -> None:
        """Keep the first guess of a round; what is no class is left out."""
        if guess in CLASS_NAMES:
            self.rounds.setdefault(key, Round(guess, ratio))

    def score(self, model: str) -> tuple[int, int, int, int, int]:
        """Person right, model right, of so many whose truth is known; same answer, of so many in all."""
        played = [r for r in self.rounds.values() if model in r.answers]
        known = [r for r in played if r.truth is not None]
        return (
            sum(r.guess == r.truth for r in known),
            sum(r.answers[model] == r.truth for r in known),
            len(known),
            sum(r.guess == r.answers[model] for r in played),
            len(played),
        )


def game(page: str) -> Game:
    """This visit's game on a page."""
    return st.session_state.setdefault(f"game_{page}", Game())


def ask_guess(playing: Game, key: Hashable) -> None:
    """Ten class buttons in the place of the answer."""
    widget = f"guess-{key}"
    st.subheader("What do you say?", anchor=False)
    st.pills(
        "Your guess shows the answer", CLASS_NAMES, key=widget, wrap=True,
        on_change=lambda: playing.commit(key, st.session_state[widget]),
    )  # fmt: skip


def show_round(playing: Game, key: Hashable, answers: dict[str, str], truth: str | None) -> None:
    """What the person and each model said about a picture, and what it is; asks for the truth where it is unknown."""
    played = playing.rounds[key]
    played.answers |= answers
    if truth is None:
        widget = f"truth-{key}"
        played.truth = st.pills(
            "What is it really? Say so, and the round counts; without it only whether you agree does.",
            CLASS_NAMES, key=widget, default=played.truth,
        )  # fmt: skip
    else:
        played.truth = truth
    said = ", ".join(f"{model} says **{answer}**" for model, answer in answers.items())
    known = f" It is: **{played.truth}**." if played.truth else ""
    st.markdown(f"You said **{played.guess}**, {said}.{known}")


def show_score(playing: Game, models: list[ModelInfo]) -> None:
    """The running score of person against network, on Classify."""
    lines = []
    for model in models:
        person, network, known, same, rounds = playing.score(model.name)
        if known:
            lines.append(f"Right: **you {person} of {known}, {model.name} {network} of {known}**.")
        if rounds:
            lines.append(f"You and {model.name} said the same in {same} of {rounds}.")
    _score(playing, " ".join(lines) or "No guess yet.")


def show_foresight(playing: Game, models: Iterable[ModelInfo]) -> None:
    """How often the person foresaw the winner, on Blend: of a mix there is no truth to be right about."""
    scores = [(model.name, *playing.score(model.name)[3:]) for model in models]
    lines = [f"You foresaw {name}'s winner in **{same} of {n}** blends." for name, same, n in scores if n]
    _score(playing, " ".join(lines) or "No guess yet: say below which class will win, at the ratio you like.")


def _score(playing: Game, text: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/scoreboard: {text}", width="content")
        st.button("Start again", on_click=playing.rounds.clear, type="tertiary", key="start_again")
