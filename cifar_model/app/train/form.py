"""The Train page's form: the settings of a new run and the button that starts it."""

from __future__ import annotations

import math
import time
from typing import Any

import streamlit as st

from cifar_model.app.shared import resources
from cifar_model.app.shared.owner import visitor, why_not_train
from cifar_model.app.shared.page import guarded, show_error
from cifar_model.app.train.data import TITLES, Choices
from cifar_model.app.train.shown import show
from cifar_model.app.train.words import EXPLAIN, STATES
from cifar_model.data.distilled import describe_mini
from cifar_model.data.outliers import CIFAR100, NONE
from cifar_model.data.outliers import is_available as outliers_available
from cifar_model.data.sources import MINI
from cifar_model.errors import LabError, RunError
from cifar_model.networks.choices import NETWORKS, OPTIMIZERS, RECIPES
from cifar_model.networks.size import count_parameters
from cifar_model.runs import start as runs_start
from cifar_model.runs.estimate import estimate_time
from cifar_model.runs.hold import is_held
from cifar_model.runs.memory import estimate_memory
from cifar_model.runs.names import MAX_NAME_LENGTH, check_name, new_name
from cifar_model.runs.read import RunInfo, ahead_of_new, live_here, live_runs, max_runs
from cifar_model.runs.remote import cluster_address
from cifar_model.text import duration, listed
from cifar_model.training.settings import LIMITS, Settings, default_settings

OF_RECIPE = ("epochs", "batch_size", "learning_rate", "optimizer", "augment")  # each recipe keeps its own
DOUBLE_CLICK_SECONDS = 2.0  # a second click within this time is the same wish


def run_form(choices: Choices) -> None:
    """The settings of a new run, how long it may take, and the button that starts it."""
    if refused := why_not_train():
        st.info(refused, icon=":material/lock:")
        return
    st.fragment(_run_form)(choices)


def _keep(field: str) -> dict[str, str]:
    """Arguments that make a widget keep its value while the person is on another page."""
    return {"key": f"train_{field}", "persist_state": "session"}


def _kept(field: str, default: Any) -> Any:
    """What a widget of `_keep` holds, drawn or not."""
    return st.session_state.get(f"train_{field}", default)


def _number(field: str, label: str, value: float, *, of: str = "", **options: Any) -> Any:
    """A number of the settings; `of` names what it belongs to, so that each recipe keeps its own."""
    low, high = LIMITS[field]
    return st.number_input(label, low, high, value, help=EXPLAIN[field], **_keep(field + of), **options)


@guarded()
def _run_form(choices: Choices) -> None:
    pictures, runs = choices.shown[0], resources.runs()
    if len(choices.shown) > 1:
        pictures = st.segmented_control(
            "Train on", list(choices.shown), default=pictures, format_func=TITLES.get, required=True,
            help=EXPLAIN["pictures"], **_keep("pictures"),
        )  # fmt: skip
    data = MINI if pictures == MINI else None
    left, right = st.columns(2)
    with left:
        default = "seed-cnn" if choices.shown == (MINI,) else "lab-net"  # few pictures suit the smaller
        names = {"seed-cnn": "seed-cnn", "lab-net": "lab-net", "custom": "Your own"}
        network = st.segmented_control(
            "Network", list(NETWORKS), default=default, format_func=names.get, required=True,
            help=EXPLAIN["network"], width="stretch", **_keep("network"),
        )  # fmt: skip
        st.caption(NETWORKS[network])
    with right:
        recipe = st.segmented_control(
            "Recipe", list(RECIPES), default="quick", required=True, help=EXPLAIN["recipe"],
            width="stretch", **_keep("recipe"),
        )  # fmt: skip
        st.caption(RECIPES[recipe])
    start, of = default_settings(network, recipe, data), f"_{network}_{recipe}{'_mini' if data else ''}"
    if data and len(choices.shown) > 1:
        st.info(describe_mini(network), icon=":material/science:")
    shape = _editor(start) if network == "custom" else {}
    more = st.expander("More settings", icon=":material/tune:", key="train_more_settings", on_change="rerun")
    name_field = f"name_{st.session_state.get('train_starts', 0)}"  # the next run has a name of its own
    if more.open:  # closed, it costs every click the drawing of its widgets
        with more:
            _more_settings(start, of, name_field, _suggested(network, recipe))
    percent, name = _kept("fraction", _percent(start)), _kept(name_field, "")
    try:
        settings = Settings(
            network=network, recipe=recipe, data=data, fraction=percent / 100,
            **{field: _kept(field + of, getattr(start, field)) for field in OF_RECIPE},
            outliers=CIFAR100 if outliers_available() and _kept("outliers", start.outliers != NONE) else NONE,
            mixup=1.0 if _kept("mixup", start.mixup > 0) else 0.0,
            **{field: _kept(field, getattr(start, field)) for field in ("early_stopping", "seed")}, **shape,
        )  # fmt: skip
        estimate = estimate_time(settings, runs)
        parameters = count_parameters(network, **shape)
    except LabError as error:
        show_error(error)
        return
    if name.strip():
        try:
            check_name(name.strip())
        except LabError as error:
            show_error(error)
            return
    sure = "as in the last run of this network here" if estimate.measured else "a rough estimate: none has run here yet"
    st.markdown(
        f"**{parameters:,}** parameters · about **{duration(estimate.seconds)}** ({sure}) · about "
        f"**{estimate_memory(settings) / 1e9:.1f} GB** of memory"
    )
    _start_button(settings, name.strip() or None, pictures in choices.ready, runs)
    commands = st.expander(
        "The same on the command line", icon=":material/terminal:", key="train_commands", on_change="rerun"
    )
    if commands.open:
        with commands:
            shown = name.strip() or _suggested(network, recipe)
            st.code(
                " ".join(["python -m cifar_model train", *settings.to_argv(), "--run", shown]),
                "shell",
                wrap_lines=True,
            )
            st.caption("A sweep: the same at several learning rates and seeds, one after another.")
            st.code(_sweep_command(settings), "shell", wrap_lines=True)


def _more_settings(start: Settings, of: str, name_field: str, suggested: str) -> None:
    """What few people change; `_kept` tells the values, whether this was drawn or not."""
    with st.grid(4, min_column_width=170, vertical_alignment="bottom"):
        _number("epochs", "Epochs", start.epochs, of=of)
        _number("batch_size", "Batch size", start.batch_size, of=of)
        _number(
            "learning_rate", "Learning rate", start.learning_rate, of=of, step=start.learning_rate / 10, format="%g"
        )
        st.selectbox(
            "Optimizer", list(OPTIMIZERS), list(OPTIMIZERS).index(start.optimizer), help=EXPLAIN["optimizer"],
            **_keep("optimizer" + of),
        )  # fmt: skip
        st.slider(
            "Share of the images", 1, 100, _percent(start), format="%d %%", help=EXPLAIN["fraction"],
            **_keep("fraction"),
        )  # fmt: skip
        _number("early_stopping", "Early stopping", start.early_stopping)
        _number("seed", "Seed", start.seed)
        st.text_input(
            "Name", placeholder=suggested, max_chars=MAX_NAME_LENGTH,
            help="The name of the run and of its model; left empty, it gets the name shown.", **_keep(name_field),
        )  # fmt: skip
    st.toggle("Augmentation", start.augment, help=EXPLAIN["augment"], **_keep("augment" + of))
    st.toggle("Train on blends", start.mixup > 0, help=EXPLAIN["mixup"], **_keep("mixup"))
    if outliers_available():
        st.toggle(
            "Also train on images of other things", start.outliers != NONE, help=EXPLAIN["outliers"],
            **_keep("outliers"),
        )  # fmt: skip


def _percent(start: Settings) -> int:
    """The share of the images, as its slider shows it."""
    return round(100 * start.fraction)


def _sweep_command(settings: Settings) -> str:
    """A sweep around these settings, as a person types it."""
    low, high = LIMITS["learning_rate"]
    rates = [f"{min(high, max(low, settings.learning_rate * factor)):.3g}" for factor in (1 / 3, 1, 3)]
    usual = Settings(**settings.to_dict() | {"learning_rate": None, "seed": 0})
    varied = ["--learning-rate", ",".join(dict.fromkeys(rates)), "--seed", "0..2"]
    return " ".join(["python -m cifar_model sweep", *usual.to_argv(), *varied])


def _suggested(network: str, recipe: str) -> str:
    return new_name(default_settings(network, recipe))


def _editor(start: Settings) -> dict[str, Any]:
    """The shape of a network of one's own, its size shown as it changes."""
    with st.container(border=True):
        with st.grid(3, min_column_width=170, vertical_alignment="bottom"):
            low, high = LIMITS["blocks"]
            blocks = st.slider(
                "Convolution blocks", low, high, len(start.filters), help=EXPLAIN["blocks"], **_keep("blocks")
            )
            low, high = LIMITS["dropout"]
            dropout = st.slider(
                "Dropout", low, high, start.dropout, step=0.05, help=EXPLAIN["dropout"], **_keep("dropout")
            )
            dense = _number("dense", "Dense units", start.dense)
        low, high = LIMITS["filters"]
        with st.grid(4, min_column_width=140):
            filters = tuple(
                st.number_input(
                    f"Filters in block {block + 1}", low, high, (*start.filters, 64)[block], step=8,
                    help=EXPLAIN["filters"], **_keep(f"filters{block}"),
                )
                for block in range(blocks)
            )  # fmt: skip
        shape = {"filters": filters, "dropout": dropout, "dense": dense}
        st.markdown(f"This network has **{count_parameters('custom', **shape):,}** parameters (trainable weights).")
    return shape


def _start_button(settings: Settings, name: str | None, ready: bool, runs: list[RunInfo]) -> None:
    ahead, remote = ahead_of_new(runs), bool(cluster_address())
    held = is_held()
    busy = held or (len(live_here(runs)) >= max_runs() and not remote)
    if held:
        st.info("All training is paused here. A new run waits until that is over.", icon=":material/pause:")
    elif remote and (waiting := sum(run.remote and run.state == "queued" for run in live_runs(runs))):
        st.info(
            f"{waiting} run{'s wait' if waiting > 1 else ' waits'} for a place in the cluster. A new run starts on its "
            "own as soon as there is one for it.",
            icon=":material/hourglass_empty:",
        )
    elif busy:
        names = listed([f"**{run.name}** ({STATES[run.state][0]})" for run in ahead])
        st.info(
            f"{names} {'is' if len(ahead) == 1 else 'are'} ahead. A new run waits in the queue and starts on its own.",
            icon=":material/hourglass_empty:",
        )
    label = "Queue this run" if busy else "Start training"
    if not st.button(label, type="primary", icon=":material/play_arrow:", disabled=not ready, key="train_start"):
        return
    if time.monotonic() - st.session_state.get("train_started", -math.inf) < DOUBLE_CLICK_SECONDS:
        return
    try:
        if refused := why_not_train():
            raise RunError(refused)
        started = runs_start.start_run(settings, name, queue=busy, owner=visitor())
    except LabError as error:
        show_error(error)
        return
    st.session_state["train_started"] = time.monotonic()
    st.session_state["train_starts"] = st.session_state.get("train_starts", 0) + 1  # the next has a name of its own
    show(started)
    st.rerun()
