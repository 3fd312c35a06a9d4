"""A run's numbers and curves as they come."""

from __future__ import annotations

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.discreet import discreet
from cifar_model.app.shared.page import guarded
from cifar_model.app.train.curves import show_curves
from cifar_model.app.train.guesses import photographs_right, show_guesses
from cifar_model.app.train.pace import note_look
from cifar_model.app.train.shown import live_states
from cifar_model.app.train.words import EXPLAIN, STATES
from cifar_model.data.sources import MINI
from cifar_model.errors import LabError
from cifar_model.runs.curve import reached
from cifar_model.runs.read import RunInfo, ahead_of, read_run
from cifar_model.text import duration, listed, share


@guarded()
def show_live(name: str, state: str, had_model: bool, live: list[tuple[str, str]]) -> None:
    """What changes while a run trains: the same elements at every look, so that nothing jumps."""
    try:
        run = read_run(name)
    except LabError:  # deleted elsewhere
        st.rerun()
    if (run.state, run.has_model) != (state, had_model) or (run.is_live and live_states() != live):
        st.rerun()  # what is outside this fragment depends on it
    note_look()
    now = run.progress
    done, text = _position(run)
    st.progress(done, text=text)
    last = run.history[-1] if run.history else {}
    mini = run.settings.get("data") == MINI
    with st.grid(5 if mini else 4, min_column_width=140):
        if mini:  # the figure that counts, before that of synthetic images
            right = photographs_right(run)
            counted = f"{right[0]} of {right[1]}" if right else "–"
            _number("Sample photographs", counted, "photographs", "the figure that counts")
        loss = f"loss {now['loss']:.3f}" if now else "loss –"
        _number("Training", share(now.get("accuracy")), "training", loss)
        loss = f"loss {last['val_loss']:.3f}" if len(last) else "loss –"
        explained = "mini_validation" if mini else "validation"
        _number("Validation, synthetic" if mini else "Validation", share(last.get("val_accuracy")), explained, loss)
        speed, rate = now.get("images_per_second"), now.get("learning_rate")
        _number("Images per second", f"{speed:,.0f}" if speed else "–", "speed", run.settings.get("network", "–"))
        _number("Learning rate", f"{rate:.3g}" if rate else "–", "learning_rate", run.settings.get("optimizer", "–"))
    charts, beside = st.columns([2.1, 1], gap="medium")
    with charts, st.container(gap="xxsmall"):
        show_curves(run)
    with beside:
        show_guesses(run)


def _number(label: str, value: str, explained: str, below: str) -> None:
    st.metric(label, value, below, delta_color="off", delta_arrow="off", help=EXPLAIN[explained], border=True)


def _position(run: RunInfo) -> tuple[float, str]:
    """How far a run is (0 to 1), in words too."""
    now, epochs = run.progress, int(run.settings.get("epochs", 0))
    if not now or not now.get("steps"):
        if run.state == "queued" and run.message:
            return 0.0, discreet(run.message)
        if run.state == "queued":
            names = listed([other.name for other in ahead_of(run.name, resources.runs())])
            return 0.0, f"Waiting for {names or 'its turn'}. It starts on its own."
        return 0.0, "Loading TensorFlow and the images …" if run.is_live else "It has not started."
    done = reached(now) / max(1, now["epochs"])
    where = f"Epoch {now['epoch']} of {now['epochs']} · step {now['step']} of {now['steps']}"
    if run.state == "finished":
        return 1.0, f"Finished: {run.status.get('epoch', epochs)} epochs. {run.message}"
    if run.state == "running":
        left = now["seconds_left"]
        return min(1.0, done), f"{where} · " + (f"{duration(left)} left" if left > 0.5 else "evaluating the model …")
    if run.state == "starting":
        return min(1.0, done), "Loading TensorFlow and the images …"
    return min(1.0, done), f"{where} · {STATES[run.state][0]}. {discreet(run.message)}"
