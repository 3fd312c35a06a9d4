"""The choice of model on top of a page, and "Options": all that only some visitors change, in one place."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cifar_model.app.shared import resources
from cifar_model.app.shared.parts import SHOW, shows
from cifar_model.app.shared.reading import DEFAULT_LEVEL, Reading, fitted
from cifar_model.app.shared.remembered import forget, kept_widget, remember, remembered
from cifar_model.models.folder import ModelInfo
from cifar_model.trust.answer_sets import LEVELS

PERCENTAGES = {False: "Calibrated", True: "Raw softmax"}
FIRST, SECOND = "model", "second_model"  # session keys of the two choices; `_epoch` behind them: of their epochs
NONE = ""  # chosen: no second model
REFUSED = "model_link_refused"  # session key: the link named no model of these, and none was chosen since
LINK = "model"  # ?model=lab-net,seed-cnn
NO_MODEL = (
    "There is no model on this machine yet. Train one on the Train page; it can be asked here "
    "as soon as its first epoch is done."
)


def use_model(name: str, key: str = FIRST) -> None:
    """Choose a model, or one epoch of a run ("first@3"), on all pages."""
    run, _, epoch = name.partition("@")
    remember(key, run)
    remember(f"{key}_epoch", int(epoch) if epoch.isdigit() else None)


def read_model_link(second: str = SECOND) -> None:
    """Take the models from ?model=lab-net,seed-cnn, once for each link; note where it names one that isn't here."""
    wanted = st.query_params.get(LINK)
    if wanted is None or wanted == st.session_state.get("model_link"):
        return
    st.session_state["model_link"] = wanted
    names = list(dict.fromkeys(wanted.split(",")))
    st.session_state[REFUSED] = len(names) > 2 or not all(map(_is_here, names))
    if st.session_state[REFUSED]:
        return
    use_model(names[0])
    if len(names) == 2:
        use_model(names[1], second)
    else:
        remember(second, NONE)


def _is_here(name: str) -> bool:
    run, _, epoch = name.partition("@")
    model = next((each for each in resources.models() if each.name == run), None)
    return model is not None and (not epoch or name in {each.name for each in resources.epochs(model)})


def write_link(**parts: str) -> None:
    """Put what the page shows into its address, so that a link, or a reload, opens it again."""
    models = parts.get(LINK)
    if models is not None:
        st.session_state["model_link"] = models
    if SHOW in st.query_params:  # a lesson's choice of what is seen stays
        parts = parts | {SHOW: parts.get(SHOW, st.query_params[SHOW])}
    if st.query_params.to_dict() != parts:
        st.query_params.from_dict(parts)


def choose_model(place: DeltaGenerator) -> ModelInfo | None:
    """One model, in a box of its own; None, having said so, if there is none yet."""
    known = {model.name: model for model in resources.models()}
    if not known:
        st.info(NO_MODEL, icon=":material/model_training:")
        return None
    with place:
        return _choose(known, FIRST, "Model", label_visibility="collapsed")


def choose_models(place: DeltaGenerator, *, beside: str = NONE) -> tuple[list[ModelInfo], Reading]:
    """One model or two, and how answers are shown: a box and "Options", remembered from page to page.

    A page that opens with a model `beside` the first has a choice of the second model for itself.
    """
    second = f"{SECOND}_beside" if beside else SECOND
    read_model_link(second)
    if st.session_state.get(REFUSED):
        st.warning("The link names a model that isn't here; the usual one is shown.", icon=":material/link_off:")
    model = choose_model(place)
    if model is None:
        return [], Reading()
    if not shows("options"):
        link = st.query_params
        return [model], Reading(_linked_level(), link.get("raw") == "1", link.get("predict") == "1")
    known = {each.name: each for each in resources.models()}
    with place, st.popover("Options", icon=":material/tune:", key="options"):
        other = _choose(
            known, second, "Compare with", optional=True, default=beside,
            help="A second network answers the same images, beside the first.",
        )  # fmt: skip
        models = list({each.name: each for each in (model, other) if each is not None}.values())
        reading = _choose_reading(models)
    return models, reading


def _choose(
    known: dict[str, ModelInfo], key: str, label: str, *, optional: bool = False, **options
) -> ModelInfo | None:
    """A box with the models, and a second one with the epochs of a run that kept some."""
    # Of a run only its name: the title of each would have its card read, of hundreds perhaps.
    titles = {name: name if model.kind == "run" else model.title for name, model in known.items()}
    if remembered(key) not in (None, NONE, *titles):  # deleted or renamed meanwhile
        forget(key)
    if optional:
        titles = {NONE: "No second model"} | titles
    elif remembered(key) is None:
        remember(key, next(iter(titles)))
    name = kept_widget(
        st.selectbox, label, list(titles), key=key, format_func=titles.get, width=230, on_change=_chosen, **options
    )
    if name not in known:
        return None
    epochs = {int(epoch.name.rpartition("@")[2]): epoch for epoch in resources.epochs(known[name])}
    if not epochs:
        return known[name]
    numbers = [None, *epochs]
    if remembered(f"{key}_epoch") not in numbers:
        forget(f"{key}_epoch")
    number = kept_widget(
        st.selectbox, f"{label}: epoch", numbers, key=f"{key}_epoch", width=140,
        format_func=lambda number: "Best epoch" if number is None else f"Epoch {number}",
        label_visibility=options.get("label_visibility", "visible"),
    )  # fmt: skip
    return known[name] if number is None else epochs[number]


def _chosen() -> None:
    st.session_state[REFUSED] = False


def _choose_reading(models: list[ModelInfo]) -> Reading:
    """How answers are shown; what no model can do isn't offered."""
    level, raw = DEFAULT_LEVEL, False
    if any(fitted(model, "sets") for model in models):
        level = kept_widget(
            st.segmented_control, "Answer set: contains the true class … of the time", LEVELS, default=_linked_level(),
            format_func=lambda level: f"{level} %", required=True, key="level",
        )  # fmt: skip
        st.caption(
            "The share of images whose answer set contains the true class. A higher share needs larger sets: more "
            "classes that the network can't rule out."
        )
    if any(fitted(model, "calibration") for model in models):
        raw = kept_widget(
            st.segmented_control, "Percentages", list(PERCENTAGES), format_func=PERCENTAGES.get,
            default=st.query_params.get("raw") == "1", required=True, key="raw",
        )  # fmt: skip
        st.caption(
            "Calibrated: of the answers given with 80 %, about 80 % are correct, as found on held-out images. Raw: the "
            "network's own softmax, often over- or underconfident. The predicted class is the same."
        )
    predict = kept_widget(st.toggle, "Predict first", key="predict", default=st.query_params.get("predict") == "1")
    st.caption("For teaching: the answer stays hidden until you have made your own guess.")
    return Reading(level, bool(raw), predict and bool(models))


def _linked_level() -> int:
    wanted = st.query_params.get("level", "")
    return int(wanted) if wanted in map(str, LEVELS) else DEFAULT_LEVEL
