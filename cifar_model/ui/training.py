"""The Train page's live view of one run: its numbers and curves as they come, its guesses, its controls.

The form is in `training_form`, the table of runs in `training_runs`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from cifar_model import models, runs
from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.dataset import MINI, TEST_SET, mini_score
from cifar_model.errors import LabError
from cifar_model.images import encode_png
from cifar_model.recipes import LIMITS
from cifar_model.ui import resources
from cifar_model.ui.components import guarded, percent

LIVE_SECONDS = 0.5  # between two looks at a run that trains
IDLE_SECONDS = 2.0  # between two looks for runs that others start
CHART_HEIGHT = 280  # pixels, axis and legend included
MAX_POINTS = 300  # of the running curve: more can't be told apart
SERIES = {"running": "#8FA3B5", "training": "#0072B2", "validation": "#D55E00"}
WITHIN, TRAINING, VALIDATION = SERIES
EXPLAIN = {
    "pictures": "CIFAR-10: 50,000 photographs to learn from. Distilled: synthetic pictures, ten classes in a few "
    "megabytes, that ship with this project and are learnt within a minute.",
    "network": "The shape of the function that is learned: its layers and their sizes.",
    "recipe": "A named set of settings to start from; each can be changed below.",
    "epochs": "One epoch is one pass over all training pictures.",
    "batch_size": "How many pictures are looked at before the weights change once.",
    "learning_rate": "How far the weights move at each change: too small is slow, too large fails.",
    "optimizer": "The rule that turns errors into changes of the weights.",
    "augment": "Mirrors and shifts the training pictures at random, against learning them by heart.",
    "fraction": "Train on fewer pictures: sooner done, less accurate.",
    "seed": "Where all chance begins: the same seed gives the same start, order and augmentation.",
    "blocks": "One block is a convolution, its normalisation and a halving of the picture.",
    "filters": "How many patterns the block looks for.",
    "dropout": "The share of values left out at random in training: a guard against learning by heart.",
    "dense": "How many units weigh the found patterns against each other before the answer.",
    "curves": "Blue: on the training pictures, after each epoch; grey: since the epoch began. Orange: on validation "
    "pictures, held out from training. Blue far above orange means learning by heart.",
    "loss": "How surprised the network is by the right answers: lower is better, 2.3 is guessing.",
    "training": "Share of right answers on the pictures that it learns from, since the epoch began.",
    "validation": "Share of right answers on pictures held out from training, which it has never seen.",
    "mini_validation": "Share of right answers on synthetic pictures that were made apart. It says how well such "
    "pictures are learnt, not how well photographs are recognised.",
    "test": "Share of right answers on the 10,000 test pictures, scored once, at the end.",
    "speed": "Training pictures a second.",
}

STATES = {
    "queued": ("waiting", "orange", ":material/hourglass_empty:"),
    "starting": ("starting", "blue", ":material/rocket_launch:"),
    "running": ("training", "blue", ":material/model_training:"),
    "paused": ("paused", "orange", ":material/pause:"),
    "finished": ("finished", "green", ":material/check:"),
    "stopped": ("stopped", "gray", ":material/stop:"),
    "failed": ("failed", "red", ":material/error:"),
    "interrupted": ("interrupted", "red", ":material/power_off:"),
}


_BLANK = encode_png(np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 128, np.uint8))


def duration(seconds: float) -> str:
    """A time span for a person: '45 s', '3 min 20 s', '2 h 5 min'."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s" if seconds < 600 else f"{round(seconds / 60)} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


# Which run the page shows


def show(name: str | None) -> None:
    """Make the page show this run; None: whatever trains."""
    st.session_state["train_run"] = name
    if name:
        st.query_params["run"] = name
    else:
        st.query_params.pop("run", None)


def shown_run() -> runs.RunInfo | None:
    """The run in the address, or chosen before, or the one that trains; None if there is none of these."""
    name = st.query_params.get("run") or st.session_state.get("train_run")
    if name:
        try:
            run = runs.read_run(name)
        except LabError as error:
            show(None)
            st.warning(str(error))
        else:
            show(name)
            return run
    live = runs.live_runs()
    if not live:
        return None
    show(live[0].name)  # it stays when it ends
    return live[0]


def watch() -> None:
    """Redraw the page when somebody else starts, stops or queues a run."""
    st.fragment(_watch, run_every=IDLE_SECONDS)(_live_states())


def _live_states() -> list[tuple[str, str]]:
    return [(run.name, run.state) for run in runs.live_runs()]


def _watch(before: list[tuple[str, str]]) -> None:
    if _live_states() != before:
        st.rerun()


# The live view


def run_panel(run: runs.RunInfo) -> None:
    """One run: its state, its numbers and curves as they come, its guesses, and what can be done with it."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(run.name, anchor=False, width="content")
            label, color, icon = STATES[run.state]
            st.badge(label, color=color, icon=icon)
            st.space("stretch")
            _controls(run)
        if run.state in ("failed", "interrupted"):
            st.error(fenced(run.message or "No reason was left behind."), icon=":material/error:")
        if run.settings.get("data") == MINI:
            st.caption(_of_mini(run.settings.get("network", "")))
        st.fragment(_live, run_every=LIVE_SECONDS if run.is_live else None)(run.name, run.state, run.has_model)
        _results(run)


def _of_mini(network: str) -> str:
    """What to know of a run on the distilled pictures."""
    line = ":material/science: Learns from **distilled pictures**; those for validation are synthetic too."
    line += " Its percentages stay as the network gives them: to calibrate them takes real pictures."
    if score := mini_score(network):
        line += f" Of the {TEST_SET}, {network} trained so gets {100 * score[0]:.0f} % right."
    return line


def fenced(message: str) -> str:
    """A message whose further lines (a log) keep their shape."""
    first, _, rest = message.partition("\n")
    return f"{first}\n\n```text\n{rest}\n```" if rest else first


def _controls(run: runs.RunInfo) -> None:
    if run.state in ("running", "starting"):
        early = run.state == "starting"
        st.button("Pause", icon=":material/pause:", on_click=_request, args=(run.name, "pause"), disabled=early)
    if run.state == "paused":
        st.button(
            "Go on", icon=":material/play_arrow:", on_click=_request, args=(run.name, "resume"), key="train_go_on"
        )
    if run.state in ("running", "paused"):
        with st.popover("Learning rate", icon=":material/tune:"):
            _rate_form(run)
    if run.is_live:
        st.button("Stop", icon=":material/stop:", on_click=ask, args=("stop", run.name), key="train_stop")
        return
    if run.can_resume:
        st.button("Resume", icon=":material/play_arrow:", on_click=_resume, args=(run.name,), key="train_resume")
    st.button("Close", icon=":material/close:", on_click=show, args=(None,), key="train_close")


def _request(name: str, action: str, value: float | None = None) -> None:
    """Leave a request, and wait a moment so that the page's next look shows its effect."""
    try:
        if not runs.request(name, action, value, wait=0.8):
            st.toast("Asked; it is taken up after the step under way.", icon=":material/hourglass_empty:")
    except LabError as error:
        st.toast(str(error), icon=":material/error:")


def _resume(name: str) -> None:
    try:
        runs.resume_run(name, queue=len(runs.live_runs()) >= runs.max_runs())
    except LabError as error:
        st.toast(str(error), icon=":material/error:")


def _rate_form(run: runs.RunInfo) -> None:
    low, high = LIMITS["learning_rate"]
    now = run.progress.get("learning_rate") or run.settings.get("learning_rate", 0.001)
    rate = st.number_input(
        "New learning rate", low, high, min(high, max(low, float(f"{now:.3g}"))), format="%g",
        step=max(low, float(f"{now / 10:.1g}")), help=EXPLAIN["learning_rate"], key=f"train_rate_{run.name}",
    )  # fmt: skip
    st.caption("From the next step on; the recipe's schedule goes on from there.")
    if st.button("Set", key="train_set_rate", type="primary"):
        _request(run.name, "set-lr", rate)


def ask(question: str | None, name: str = "") -> None:
    """Open a dialog about a run, or close it (None); it stays open while the page behind it is redrawn."""
    st.session_state["train_question"] = (question, name)


@st.dialog("Stop this run?", on_dismiss=lambda: ask(None))
def stop_dialog(name: str) -> None:
    """Ask whether to stop, and stop."""
    st.markdown(f"**{name}** ends now. Its best model so far is kept and can be used; it can be resumed later.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Let it run", key="train_stop_no"):
            ask(None)
            st.rerun()
        if st.button("Stop it", type="primary", key="train_stop_yes"):
            ask(None)
            _request(name, "stop")
            st.rerun()


@guarded()
def _live(name: str, state: str, had_model: bool) -> None:
    """What changes while a run trains: the same elements at every look, so that nothing jumps."""
    try:
        run = runs.read_run(name)
    except LabError:  # deleted elsewhere
        st.rerun()
    if (run.state, run.has_model) != (state, had_model):
        st.rerun()  # buttons outside this fragment depend on it
    history, now = run.history, run.progress
    share, text = _position(run)
    st.progress(share, text=text)
    last = history.iloc[-1] if len(history) else {}
    with st.grid(4, min_column_width=150):
        loss = f"loss {now['loss']:.3f}" if now else "loss –"
        _number("Training", _percent(now.get("accuracy")), "training", loss)
        loss = f"loss {last['val_loss']:.3f}" if len(last) else "loss –"
        mini = run.settings.get("data") == MINI
        explained = "mini_validation" if mini else "validation"
        _number("Validation, synthetic" if mini else "Validation", _percent(last.get("val_accuracy")), explained, loss)
        speed, rate = now.get("images_per_second"), now.get("learning_rate")
        _number("Images a second", f"{speed:,.0f}" if speed else "–", "speed", run.settings.get("network", "–"))
        _number("Learning rate", f"{rate:.3g}" if rate else "–", "learning_rate", run.settings.get("optimizer", "–"))
    points = _points(run)
    epochs = int(run.settings.get("epochs", 1))
    with st.grid(2, min_column_width=320):
        for quantity, title in (("accuracy", "Accuracy"), ("loss", "Loss")):
            with st.container(gap="xxsmall"):
                st.markdown(f"**{title}**", help=EXPLAIN["loss" if quantity == "loss" else "curves"])
                st.vega_lite_chart(
                    points[points["quantity"] == quantity].drop(columns="quantity"),
                    _curve_spec(quantity, epochs),
                    alt=f"{title} on training and validation pictures by epoch.",
                    key=f"train_{quantity}",
                )
    _guesses(run)


def _number(label: str, value: str, explained: str, below: str) -> None:
    st.metric(label, value, below, delta_color="off", delta_arrow="off", help=EXPLAIN[explained], border=True)


def _percent(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{100 * value:.1f} %"


def _position(run: runs.RunInfo) -> tuple[float, str]:
    """How far a run is (0 to 1), in words too."""
    now, epochs = run.progress, int(run.settings.get("epochs", 0))
    if not now or not now.get("steps"):
        if run.state == "queued":
            names = ", ".join(other.name for other in runs.ahead_of(run.name))
            return 0.0, f"Waiting for {names or 'its turn'}. It starts by itself."
        return 0.0, "Loading TensorFlow and the pictures …" if run.is_live else "It has not begun."
    share = _reached(now) / max(1, now["epochs"])
    where = f"Epoch {now['epoch']} of {now['epochs']} · step {now['step']} of {now['steps']}"
    if run.state == "finished":
        return 1.0, f"Finished: {epochs} epochs. {run.message}"
    if run.state == "running":
        left = now["seconds_left"]
        return min(1.0, share), f"{where} · " + (f"{duration(left)} left" if left > 0.5 else "checking its model …")
    if run.state == "starting":
        return min(1.0, share), "Loading TensorFlow and the pictures …"
    return min(1.0, share), f"{where} · {STATES[run.state][0]}. {run.message}"


def _points(run: runs.RunInfo) -> pd.DataFrame:
    """epoch, value, series, quantity: the finished epochs, and the running values within each epoch."""
    offset, kept = st.session_state.get(f"_progress_{run.name}", (0, []))
    if kept and offset > _size(run.path / "progress.jsonl"):  # begun anew under the same name
        offset, kept = 0, []
    records, offset = runs.read_progress(run.path, offset)
    kept = list(kept)
    for record in records:
        while kept and _reached(kept[-1]) >= _reached(record):  # a resumed run repeats an epoch
            kept.pop()
        kept.append(record)
    if len(kept) > 2 * MAX_POINTS:
        kept = [*kept[:-1:2], kept[-1]]
    st.session_state[f"_progress_{run.name}"] = (offset, kept)
    rows = []
    for quantity in ("accuracy", "loss"):
        for record in kept:
            rows.append((_reached(record), record[quantity], WITHIN, quantity))
        for series, column in ((TRAINING, quantity), (VALIDATION, f"val_{quantity}")):
            rows += [(*pair, series, quantity) for pair in run.history[["epoch", column]].itertuples(index=False)]
    points = pd.DataFrame(rows, columns=["epoch", "value", "series", "quantity"])
    return points.astype({"epoch": "float64", "value": "float64", "series": "object", "quantity": "object"})


def _reached(record: dict[str, Any]) -> float:
    """How many epochs, parts included, were done at a progress record."""
    return record["epoch"] - 1 + record["step"] / max(1, record["steps"])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _curve_spec(quantity: str, epochs: int) -> dict[str, Any]:
    """A Vega-Lite chart without its data: the same at every look, so that the browser changes data alone."""
    y_axis = {"minExtent": 34, "tickCount": 5}
    if quantity == "accuracy":
        y = {"scale": {"domain": [0, 1]}, "axis": {**y_axis, "format": ".0%"}}
    else:
        y = {"scale": {"zero": True, "nice": True}, "axis": {**y_axis, "format": ".1f"}}
    running = f"datum.series === '{WITHIN}'"
    return {
        "height": CHART_HEIGHT,
        "encoding": {
            "x": {
                "field": "epoch", "type": "quantitative", "title": "Epoch",
                "scale": {"domain": [0, epochs], "nice": False},
                "axis": {"tickMinStep": 1, "format": "d", "titlePadding": 4},
            },
            "y": {"field": "value", "type": "quantitative", "title": None, **y},
            "color": {
                "field": "series", "type": "nominal",
                "scale": {"domain": list(SERIES), "range": list(SERIES.values())},
                "legend": {"title": None, "orient": "top", "columns": 3, "offset": 6},
            },
        },
        "layer": [
            {"transform": [{"filter": running}], "mark": {"type": "line", "strokeWidth": 1.2, "clip": True}},
            {
                "transform": [{"filter": f"!({running})"}],
                "mark": {"type": "line", "strokeWidth": 2.2, "point": {"size": 45}},
                "encoding": {
                    "tooltip": [
                        {"field": "epoch", "type": "quantitative", "title": "Epoch"},
                        {"field": "series", "type": "nominal", "title": "Pictures"},
                        {
                            "field": "value", "type": "quantitative", "title": quantity.capitalize(),
                            "format": ".1%" if quantity == "accuracy" else ".3f",
                        },
                    ]
                },
            },
        ],
    }  # fmt: skip


@lru_cache(maxsize=64)
def _picture(pixels: bytes) -> bytes:
    """A 32×32 picture as an enlarged PNG, made once for all the times that it is shown."""
    return encode_png(np.frombuffer(pixels, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE, 3), scale=6)


def _guesses(run: runs.RunInfo) -> None:
    """Eight fixed test pictures, or sample photographs, with the network's present answers."""
    mini = run.settings.get("data") == MINI
    st.markdown(
        f"**What it thinks of eight {'real photographs' if mini else 'pictures'} that it never trains on**",
        help="The most probable class by its softmax output: ten shares that sum to 100 %.",
    )
    guesses = runs.read_guesses(run.path)
    with st.grid(8, min_column_width=92, gap="small"):
        for number in range(8):
            with st.container(gap="xxsmall"):
                if guesses is None or number >= len(guesses.labels):
                    st.image(_BLANK, width="stretch", alt="A picture to come")
                    st.markdown("…  \n:small[…]  \n:small[…]")
                    continue
                truth = CLASS_NAMES[int(guesses.labels[number])]
                alt = f"A {'photograph' if mini else 'test picture'}: {truth}"
                st.image(_picture(guesses.images[number].tobytes()), width="stretch", alt=alt)
                if guesses.probabilities is None:
                    st.markdown(f"…  \n:small[…]  \n:small[it is: {truth}]")
                    continue
                row = guesses.probabilities[number]
                said = CLASS_NAMES[int(row.argmax())]
                verdict = ":green[✓ right]" if said == truth else f":red[✗ {truth}]"
                st.markdown(f"**{said}**  \n:small[{percent(float(row.max()))}]  \n:small[{verdict}]")


def _results(run: runs.RunInfo) -> None:
    """What a run leaves: its model on the other pages, its files, the commands behind it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        epochs = models.kept_epochs(run.path)
        choices = [run.name, *(f"{run.name}@{number}" for number, _ in epochs)]
        titles = {run.name: "Best epoch"} | {f"{run.name}@{number}": f"Epoch {number}" for number, _ in epochs}
        chosen = st.selectbox(
            "Model", choices, format_func=titles.get, width=150, key=f"train_epoch_{run.name}",
            disabled=not run.has_model, help="The best epoch by validation accuracy, or any that was kept.",
        )  # fmt: skip
        for page, label, icon in (
            ("classify", "Use on Classify", ":material/image_search:"),
            ("blend", "Use on Blend", ":material/gradient:"),
        ):
            if st.button(label, icon=icon, disabled=not run.has_model, key=f"train_use_{page}"):
                resources.models.clear()  # it lists what is there, at most every two seconds
                st.session_state["model"] = chosen
                st.switch_page(f"pages/{page}.py")
        st.space("stretch")
        file = models.find_model(chosen) if run.has_model else run.path
        file = file / models.MODEL_FILE if file.is_dir() else file
        for path, mime, ready in (
            (file, "application/octet-stream", run.has_model),
            (run.path / models.HISTORY_FILE, "text/csv", len(run.history) > 0),
        ):
            label = "model.keras" if path.suffix == ".keras" else path.name
            st.download_button(
                label, path.read_bytes, f"{chosen.replace('@', '-epoch-')}-{label}", mime, on_click="ignore",
                icon=":material/download:", disabled=not ready, key=f"train_download_{label}",
            )  # fmt: skip
    with st.expander("Commands and log", icon=":material/terminal:"):
        st.caption("This is what runs; typed in a terminal, it does the same.")
        st.code(run.command or f"python -m cifar_model train --run {run.name}", "shell", wrap_lines=True)
        st.caption("Follow or control it from a terminal on this machine.")
        st.code(
            f"python -m cifar_model runs follow {run.name}\npython -m cifar_model runs stop {run.name}",
            "shell",
        )
        st.caption("Look deeper with TensorBoard, Keras's own dashboard.")
        st.code(f'tensorboard --logdir "{run.path / "tensorboard"}"', "shell", wrap_lines=True)
        if log := runs.read_log(run.path):
            st.caption("The end of its log.")
            st.code(log, "text", wrap_lines=True)
