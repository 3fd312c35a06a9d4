"""The parts of the Train page: the way to the data, the form, the live view of a run, the runs so far."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from cifar_model import dataset, models, runs
from cifar_model.architectures import count_parameters
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.figures import TRAINING, VALIDATION, percent
from cifar_model.images import encode_png
from cifar_model.recipes import LIMITS, NETWORKS, OPTIMIZERS, RECIPES, Settings, default_settings

LIVE_SECONDS = 0.5  # between two looks at a run that trains
IDLE_SECONDS = 2.0  # between two looks for runs that others start
CHART_HEIGHT = 230
GUESS_WIDTH = 104  # pixels of a picture on the page
MAX_POINTS = 300  # of the running curve: more can't be told apart
SERIES = ("training, so far in the epoch", "training", "validation")
CURVE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

EXPLAIN = {
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
    "loss": "How surprised the network is by the right answers: lower is better, 2.3 is guessing.",
    "training": "On the pictures that it learns from, since the epoch began.",
    "validation": "On pictures held out from training: how well it does on what it has never seen.",
    "test": "On the 10,000 test pictures, scored once, at the end.",
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


def duration(seconds: float) -> str:
    """A time span for a person: '45 s', '3 min 20 s', '2 h 5 min'."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s" if seconds < 600 else f"{round(seconds / 60)} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


# The data


class Download:
    """One download of CIFAR-10 for all sessions, in a thread that no page's end stops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running = False
        self.done = self.total = 0
        self.error = ""

    def start(self) -> None:
        """Begin, unless it runs already."""
        with self._lock:
            if self.running:
                return
            self.running, self.error, self.done, self.total = True, "", 0, 0
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        def note(done: int, total: int) -> None:
            self.done, self.total = done, total

        try:
            dataset.download(note)
        except LabError as error:
            self.error = str(error)
        except Exception as error:  # shown, or the page would wait for ever
            self.error = f"The download failed: {error}"
        finally:
            self.running = False


@st.cache_resource(show_spinner=False)
def the_download() -> Download:
    """The one download of this server."""
    return Download()


def data_section() -> bool:
    """Say so and offer the download if CIFAR-10 isn't on this machine; return whether it is."""
    try:
        dataset.find_source()
        return True
    except LabError as error:
        problem = error
    with st.container(border=True):
        st.subheader("First, the pictures", anchor=False)
        if os.environ.get("CIFAR10_DIR"):  # a download would not be looked at
            st.error(_fenced(str(problem)), icon=":material/folder_off:")
            st.markdown("Correct the setting `CIFAR10_DIR`, or remove it, and start the app again.")
            return False
        st.markdown(
            "Training needs CIFAR-10, 60,000 small pictures in ten classes, and it isn't here yet. Fetch "
            "it once from its home at the University of Toronto (163 MB), or set `CIFAR10_DIR` to a folder "
            "that holds it and start the app again."
        )
        job = the_download()
        st.fragment(_download_progress, run_every=LIVE_SECONDS if job.running else None)(job.running)
    return False


def _download_progress(was_running: bool) -> None:
    job = the_download()
    if was_running and not job.running:
        st.rerun()
    if job.running:
        share = job.done / job.total if job.total else 0.0
        text = (
            f"{job.done / 1e6:,.0f} of {job.total / 1e6:,.0f} MB"
            if job.total
            else "Asking for the pictures …"
        )
        st.progress(min(1.0, share), text=text)
        return
    if job.error:
        st.error(job.error, icon=":material/cloud_off:")
        st.markdown(
            "Without network: copy `cifar-10-python.tar.gz`, or a folder with CIFAR-10, from another "
            "machine, and set `CIFAR10_DIR` to it."
        )
    if st.button(
        "Try again" if job.error else "Download CIFAR-10", icon=":material/download:", type="primary"
    ):
        job.start()
        st.rerun()


# The form


def run_form(has_data: bool) -> None:
    """The settings of a new run, how long it may take, and the button that starts it."""
    st.fragment(_run_form)(has_data)


def _key(field: str) -> str:
    return f"train_{field}"


def _take_recipe() -> None:
    """Fill the form with the recipe's own settings."""
    chosen = default_settings(st.session_state[_key("network")], st.session_state[_key("recipe")])
    for field in ("epochs", "batch_size", "learning_rate", "optimizer", "augment"):
        st.session_state[_key(field)] = getattr(chosen, field)


def _begin_form() -> None:
    if _key("network") not in st.session_state:
        st.session_state[_key("network")], st.session_state[_key("recipe")] = "lab-net", "quick"
        _take_recipe()
        plain = default_settings()
        values = {
            _key("fraction"): 100,
            _key("seed"): plain.seed,
            _key("blocks"): len(plain.filters),
            _key("dropout"): plain.dropout,
            _key("dense"): plain.dense,
        }
        for key, value in values.items():
            st.session_state[key] = value
        for block, width in enumerate((*plain.filters, 64)[: LIMITS["blocks"][1]]):
            st.session_state[_key(f"filters{block}")] = width


def _keep(field: str) -> dict[str, Any]:
    """Arguments that make a widget keep its value while the person is on another page."""
    return {"key": _key(field), "persist_state": "session"}


def _number(field: str, label: str, **options: Any) -> Any:
    low, high = LIMITS[field]
    return st.number_input(label, low, high, help=EXPLAIN[field], **_keep(field), **options)


def _run_form(has_data: bool) -> None:
    _begin_form()
    left, right = st.columns(2)
    with left:
        names = {"seed-cnn": "seed-cnn", "lab-net": "lab-net", "custom": "Your own"}
        network = st.segmented_control(
            "Network", list(NETWORKS), format_func=names.get, on_change=_take_recipe, required=True,
            help=EXPLAIN["network"], width="stretch", **_keep("network"),
        )  # fmt: skip
        st.caption(NETWORKS[network])
    with right:
        recipe = st.segmented_control(
            "Recipe", list(RECIPES), on_change=_take_recipe, required=True, help=EXPLAIN["recipe"],
            width="stretch", **_keep("recipe"),
        )  # fmt: skip
        st.caption(RECIPES[recipe])
    shape = _editor() if network == "custom" else {}
    with st.grid(4, min_column_width=170, vertical_alignment="bottom"):
        epochs = _number("epochs", "Epochs")
        batch_size = _number("batch_size", "Batch size")
        learning_rate = _number("learning_rate", "Learning rate", step=0.001, format="%g")
        optimizer = st.selectbox(
            "Optimizer", list(OPTIMIZERS), help=EXPLAIN["optimizer"], **_keep("optimizer")
        )
        fraction = st.slider(
            "Share of the pictures", 1, 100, format="%d %%", help=EXPLAIN["fraction"], **_keep("fraction")
        )
        seed = _number("seed", "Seed")
        name = st.text_input(
            "Name", placeholder=_suggested(network, recipe), max_chars=runs.MAX_NAME_LENGTH, key=_key("name"),
            help="What the run and its model are called; left empty, it gets the name shown.",
        )  # fmt: skip
        augment = st.toggle("Augmentation", help=EXPLAIN["augment"], **_keep("augment"))
    try:
        settings = Settings(
            network=network, recipe=recipe, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
            optimizer=optimizer, augment=augment, fraction=fraction / 100, seed=seed, **shape,
        )  # fmt: skip
        estimate = runs.estimate_time(settings)
        parameters = count_parameters(network, **shape)
    except LabError as error:
        st.error(str(error))
        return
    if name.strip():
        try:
            runs.check_name(name.strip())
        except LabError as error:
            st.error(str(error))
            return
    sure = (
        "as the last run of this network here" if estimate.measured else "a rough guess, as none ran here yet"
    )
    st.markdown(f"**{parameters:,}** parameters · about **{duration(estimate.seconds)}** ({sure})")
    _start_button(settings, name.strip() or None, has_data)
    with st.expander("The command that runs", icon=":material/terminal:"):
        shown = name.strip() or _suggested(network, recipe)
        st.code(
            " ".join(["python -m cifar_model train", *settings.to_argv(), "--run", shown]),
            "shell",
            wrap_lines=True,
        )


def _suggested(network: str, recipe: str) -> str:
    return runs.new_name(default_settings(network, recipe))


def _editor() -> dict[str, Any]:
    """The shape of a network of one's own, its size shown as it changes."""
    with st.container(border=True):
        with st.grid(3, min_column_width=170, vertical_alignment="bottom"):
            low, high = LIMITS["blocks"]
            blocks = st.slider("Convolution blocks", low, high, help=EXPLAIN["blocks"], **_keep("blocks"))
            low, high = LIMITS["dropout"]
            dropout = st.slider("Dropout", low, high, step=0.05, help=EXPLAIN["dropout"], **_keep("dropout"))
            dense = _number("dense", "Dense units")
        low, high = LIMITS["filters"]
        with st.grid(4, min_column_width=140):
            filters = tuple(
                st.number_input(
                    f"Filters in block {block + 1}", low, high, step=8, help=EXPLAIN["filters"],
                    **_keep(f"filters{block}"),
                )
                for block in range(blocks)
            )  # fmt: skip
        shape = {"filters": filters, "dropout": dropout, "dense": dense}
        st.markdown(
            f"This network has **{count_parameters('custom', **shape):,}** parameters (weights to learn)."
        )
    return shape


def _start_button(settings: Settings, name: str | None, has_data: bool) -> None:
    ahead = runs.live_runs()
    busy = len(ahead) >= runs.max_runs()
    if busy:
        names = ", ".join(f"**{run.name}** ({STATES[run.state][0]})" for run in ahead)
        st.info(
            f"{names} {'is' if len(ahead) == 1 else 'are'} ahead. "
            "A new run waits in the queue and starts by itself.",
            icon=":material/hourglass_empty:",
        )
    label = "Queue this run" if busy else "Start training"
    if not st.button(
        label, type="primary", icon=":material/play_arrow:", disabled=not has_data, key="train_start"
    ):
        return
    try:
        started = runs.start_run(settings, name, queue=busy)
    except LabError as error:
        st.error(str(error))
        return
    show(started)
    st.rerun()


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
    return live[0] if live else None


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
            st.error(_fenced(run.message or "No reason was left behind."), icon=":material/error:")
        st.fragment(_live, run_every=LIVE_SECONDS if run.is_live else None)(
            run.name, run.state, run.has_model
        )
        _results(run)


def _fenced(message: str) -> str:
    """A message whose further lines (a log) keep their shape."""
    first, _, rest = message.partition("\n")
    return f"{first}\n\n```text\n{rest}\n```" if rest else first


def _controls(run: runs.RunInfo) -> None:
    if run.state in ("running", "starting"):
        early = run.state == "starting"
        st.button("Pause", icon=":material/pause:", on_click=_ask, args=(run.name, "pause"), disabled=early)
    if run.state == "paused":
        st.button(
            "Go on", icon=":material/play_arrow:", on_click=_ask, args=(run.name, "resume"), key="train_go_on"
        )
    if run.state in ("running", "paused"):
        with st.popover("Learning rate", icon=":material/tune:"):
            _rate_form(run)
    if run.is_live:
        if st.button("Stop", icon=":material/stop:", key="train_stop"):
            _stop_dialog(run.name)
        return
    if run.can_resume:
        st.button(
            "Resume", icon=":material/play_arrow:", on_click=_resume, args=(run.name,), key="train_resume"
        )
    st.button("Close", icon=":material/close:", on_click=show, args=(None,), key="train_close")


def _ask(name: str, action: str, value: float | None = None) -> None:
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
        _ask(run.name, "set-lr", rate)


@st.dialog("Stop this run?")
def _stop_dialog(name: str) -> None:
    st.markdown(
        f"**{name}** ends now. Its best model so far is kept and can be used; it can be resumed later."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Let it run", key="train_stop_no"):
            st.rerun()
        if st.button("Stop it", type="primary", key="train_stop_yes"):
            _ask(name, "stop")
            st.rerun()


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
        st.metric("Training accuracy", _percent(now.get("accuracy")), help=EXPLAIN["training"], border=True)
        st.metric(
            "Validation accuracy", _percent(last.get("val_accuracy")), help=EXPLAIN["validation"], border=True
        )
        speed, rate = now.get("images_per_second"), now.get("learning_rate")
        st.metric("Images a second", f"{speed:,.0f}" if speed else "–", help=EXPLAIN["speed"], border=True)
        st.metric("Learning rate", f"{rate:.3g}" if rate else "–", help=EXPLAIN["learning_rate"], border=True)
    points = _points(run)
    epochs = int(run.settings.get("epochs", 1))
    with st.grid(2, min_column_width=320):
        for quantity, title in (("accuracy", "Accuracy"), ("loss", "Loss")):
            with st.container(gap="xxsmall"):
                st.markdown(
                    f"**{title}**", help=EXPLAIN["loss"] if quantity == "loss" else EXPLAIN["validation"]
                )
                st.vega_lite_chart(
                    points[points["quantity"] == quantity].drop(columns="quantity"),
                    _curve_spec(quantity, epochs),
                    alt=f"{title} on training and validation pictures by epoch.",
                    key=f"train_{quantity}",
                )
    _guesses(run)


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
    share = (now["epoch"] - 1 + now["step"] / now["steps"]) / max(1, now["epochs"])
    where = f"Epoch {now['epoch']} of {now['epochs']} · step {now['step']} of {now['steps']}"
    if run.state == "finished":
        return 1.0, f"Finished: {epochs} epochs. {run.message}"
    if run.state == "running":
        left = now["seconds_left"]
        return min(1.0, share), f"{where} · " + (
            f"{duration(left)} left" if left > 0.5 else "checking its model …"
        )
    if run.state == "starting":
        return min(1.0, share), "Loading TensorFlow and the pictures …"
    return min(1.0, share), f"{where} · {STATES[run.state][0]}. {run.message}"


def _points(run: runs.RunInfo) -> pd.DataFrame:
    """epoch, value, series, quantity: the finished epochs, and the running values within each epoch."""
    offset, kept = st.session_state.get(f"_progress_{run.name}", (0, []))
    if kept and offset > _size(run.path / "progress.jsonl"):  # begun anew under the same name
        offset, kept = 0, []
    records, offset = runs.read_progress(run.path, offset)
    kept = [*kept, *records]
    if len(kept) > 2 * MAX_POINTS:
        kept = [*kept[:-1:2], kept[-1]]
    st.session_state[f"_progress_{run.name}"] = (offset, kept)
    rows = []
    for quantity in ("accuracy", "loss"):
        for record in kept:
            where = record["epoch"] - 1 + record["step"] / max(1, record["steps"])
            rows.append((where, record[quantity], SERIES[0], quantity))
        for series, column in ((SERIES[1], quantity), (SERIES[2], f"val_{quantity}")):
            rows += [
                (*pair, series, quantity) for pair in run.history[["epoch", column]].itertuples(index=False)
            ]
    points = pd.DataFrame(rows, columns=["epoch", "value", "series", "quantity"])
    return points.astype({"epoch": "float64", "value": "float64", "series": "object", "quantity": "object"})


def _size(path) -> int:
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
    running = f"datum.series === '{SERIES[0]}'"
    return {
        "height": CHART_HEIGHT,
        "encoding": {
            "x": {
                "field": "epoch", "type": "quantitative", "title": "Epoch",
                "scale": {"domain": [0, epochs], "nice": False}, "axis": {"tickMinStep": 1, "format": "d"},
            },
            "y": {"field": "value", "type": "quantitative", "title": None, **y},
            "color": {
                "field": "series", "type": "nominal",
                "scale": {"domain": list(SERIES), "range": ["#8FA3B5", TRAINING, VALIDATION]},
                "legend": {"title": None, "orient": "bottom", "columns": 3, "labelLimit": 220},
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


def _guesses(run: runs.RunInfo) -> None:
    """Eight fixed test pictures with the network's present answers."""
    st.markdown(
        "**What it thinks of eight pictures that it never trains on**",
        help="The most probable class by its softmax output: ten shares that sum to 100 %.",
    )
    guesses = runs.read_guesses(run.path)
    with st.container(horizontal=True, gap="small"):
        for number in range(8):
            with st.container(width=GUESS_WIDTH, gap="xxsmall"):
                if guesses is None or number >= len(guesses.labels):
                    st.skeleton(GUESS_WIDTH)
                    st.markdown("…  \n:gray[…]")
                    continue
                truth = int(guesses.labels[number])
                picture = encode_png(guesses.images[number], scale=6)
                st.image(picture, width=GUESS_WIDTH, alt=f"A test picture: {CLASS_NAMES[truth]}")
                if guesses.probabilities is None:
                    st.markdown(f"…  \n:gray[is: {CLASS_NAMES[truth]}]")
                    continue
                row = guesses.probabilities[number]
                best = int(row.argmax())
                said = f"**{CLASS_NAMES[best]}** {percent(float(row[best]))}"
                verdict = ":green[✓ right]" if best == truth else f":red[✗ {CLASS_NAMES[truth]}]"
                st.markdown(f"{said}  \n{verdict}")


def _results(run: runs.RunInfo) -> None:
    """What a run leaves: its model on the other pages, its files, the commands behind it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        epochs = models.kept_epochs(run.path)
        choices = [run.name, *(f"{run.name}@{number}" for number, _ in epochs)]
        titles = {run.name: "Best so far" if run.is_live else "Best", **{
            f"{run.name}@{number}": f"Epoch {number}" for number, _ in epochs
        }}  # fmt: skip
        chosen = st.selectbox(
            "Model", choices, format_func=titles.get, width=150, key=f"train_epoch_{run.name}",
            disabled=not run.has_model, help="The best epoch by validation accuracy, or any that was kept.",
        )  # fmt: skip
        for page, label, icon in (
            ("classify", "Use on Classify", ":material/image_search:"),
            ("blend", "Use on Blend", ":material/gradient:"),
        ):
            st.page_link(
                f"pages/{page}.py", label=label, icon=icon, query_params={"model": chosen},
                disabled=not run.has_model,
            )  # fmt: skip
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


# The runs so far


def past_runs() -> None:
    """All runs in a table; two or more compared; one opened, renamed or deleted."""
    found = runs.list_runs()
    st.header("Runs so far", anchor=False)
    if not found:
        st.caption("None yet. What you train is kept here, with its curves, settings and model.")
        return
    st.dataframe(
        pd.DataFrame([_table_row(run) for run in found]),
        hide_index=True,
        column_config={
            "Validation": st.column_config.NumberColumn(format="percent", help=EXPLAIN["validation"]),
            "Test": st.column_config.NumberColumn(format="percent", help=EXPLAIN["test"]),
            "Started": st.column_config.DatetimeColumn(format="calendar"),
        },
        height="content" if len(found) <= 8 else 330,
    )
    names = [run.name for run in found]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Run", names, width=260, key="train_chosen")
        run = found[names.index(name)]
        st.button("Open", icon=":material/open_in_full:", on_click=show, args=(name,), key="train_open")
        hint = "Stop it first." if run.is_live else None
        if st.button("Rename", icon=":material/edit:", disabled=run.is_live, help=hint, key="train_rename"):
            _rename_dialog(name)
        if st.button("Delete", icon=":material/delete:", disabled=run.is_live, help=hint, key="train_delete"):
            _delete_dialog(name)
    _compare(found)


def _table_row(run: runs.RunInfo) -> dict[str, Any]:
    history, settings = run.history, run.settings
    try:
        scores = models.load_card(run.path).get("scores", {})
    except LabError:
        scores = {}
    return {
        "Run": run.name,
        "State": STATES[run.state][0],
        "Network": settings.get("network", ""),
        "Recipe": settings.get("recipe", ""),
        "Epochs": f"{len(history)} of {settings.get('epochs', '?')}",
        "Validation": history["val_accuracy"].max() if len(history) else None,
        "Test": scores.get("test_accuracy"),
        "Trained for": duration(history["seconds"].sum()) if len(history) else "",
        "Started": pd.Timestamp(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.created))),
    }


def _compare(found: list[runs.RunInfo]) -> None:
    learned = {run.name: run for run in found if len(run.history)}
    if len(learned) < 2:
        return
    st.subheader("Compare", anchor=False)
    if "train_compare" in st.session_state:  # a run may have been deleted or renamed since
        kept = [name for name in st.session_state["train_compare"] if name in learned]
        st.session_state["train_compare"] = kept
    else:
        st.session_state["train_compare"] = list(learned)[:3]
    names = st.multiselect(
        "Runs to compare", list(learned), key="train_compare", max_selections=len(CURVE_COLORS)
    )
    if not names:
        return
    frame = pd.concat([learned[name].history.assign(run=name) for name in names])
    with st.grid(2, min_column_width=320):
        for column, title in (("val_accuracy", "Validation accuracy"), ("val_loss", "Validation loss")):
            with st.container(gap="xxsmall"):
                st.markdown(f"**{title}**", help=EXPLAIN["validation"])
                st.altair_chart(
                    _overlay(frame, column, names),
                    alt=f"{title} by epoch of the runs {', '.join(names)}: "
                    + ", ".join(
                        f"{name} ends at {learned[name].history[column].iloc[-1]:.3g}" for name in names
                    ),
                )
    table = pd.DataFrame({name: learned[name].settings for name in names}).map(str)
    differs = table.nunique(axis=1) > 1
    everything = len(names) < 2 or st.toggle("Show the settings that are equal too", key="train_all_settings")
    if everything or differs.any():
        st.dataframe(table if everything else table[differs])
    else:
        st.caption("Their settings are the same.")


def _overlay(frame: pd.DataFrame, column: str, names: list[str]) -> alt.Chart:
    form = ".0%" if column == "val_accuracy" else ".1f"
    return (
        alt.Chart(frame[["epoch", column, "run"]])
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y(f"{column}:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=form)),
            color=alt.Color(
                "run:N",
                scale=alt.Scale(domain=names, range=list(CURVE_COLORS[: len(names)])),
                legend=alt.Legend(title=None, orient="bottom", columns=2, labelLimit=260),
            ),
            tooltip=["run", "epoch", alt.Tooltip(f"{column}:Q", format=".4f")],
        )
        .properties(height=CHART_HEIGHT)
    )


@st.dialog("Rename this run")
def _rename_dialog(name: str) -> None:
    new = st.text_input("New name", name, max_chars=runs.MAX_NAME_LENGTH, key="train_new_name")
    if st.button("Rename it", type="primary", key="train_rename_yes"):
        try:
            runs.rename(name, new.strip())
        except LabError as error:
            st.error(str(error))
            return
        if st.session_state.get("train_run") == name:
            show(new.strip())
        st.rerun()


@st.dialog("Delete this run?")
def _delete_dialog(name: str) -> None:
    st.markdown(f"**{name}**, its model, curves and log are gone for good.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep it", key="train_delete_no"):
            st.rerun()
        if st.button("Delete it", type="primary", key="train_delete_yes"):
            try:
                runs.delete(name)
            except LabError as error:
                st.error(str(error))
                return
            if st.session_state.get("train_run") == name:
                show(None)
            st.rerun()
