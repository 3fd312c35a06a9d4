"""The parts of the Models page: what a model's card and its answers on the test pictures say, and the pictures."""

import json
import re

import numpy as np
import streamlit as st

from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.dataset import THREE_WAYS
from cifar_model.errors import DatasetError
from cifar_model.images import data_url, encode_png
from cifar_model.models import ModelInfo
from cifar_model.report import Comparison, Report, compare
from cifar_model.ui import components, components_inside, resources
from cifar_model.ui.jobs import Picture
from cifar_model.ui.state import use_in_blend

TILE = "5.9rem"
OPENED = "models_opened"  # session key: (gallery, test picture) that a visitor looks at closely
CELL = "models_cell"  # session key: (truth, answer) of the confusion matrix

_confusion = components._component("confusion")


# The link


def read_link() -> None:
    """Take the models and the cell of the confusion matrix from ?model=lab-net,seed-cnn&cell=cat-dog."""
    link, state = st.query_params.to_dict(), st.session_state
    if not link or link == state.get("models_link"):
        return
    state["models_link"] = link
    if "model" in link:
        known = {model.name for model in resources.models()}
        wanted = list(dict.fromkeys(link["model"].split(",")))
        if len(wanted) <= 2 and known.issuperset(wanted):
            state["model"], state["second_model"] = (*wanted, None)[:2]
        else:
            st.warning("The link names a model that isn't here; the usual one is shown.", icon=":material/link_off:")
    truth, _, answer = link.get("cell", "").partition("-")
    if {truth, answer} <= set(CLASS_NAMES):
        state[CELL] = (CLASS_NAMES.index(truth), CLASS_NAMES.index(answer))


def _write_link(**parts: str) -> None:
    link = st.query_params.to_dict() | parts
    if link != st.query_params.to_dict():
        st.query_params.from_dict(link)
    st.session_state["models_link"] = link


# The page


def show_models(models: list[ModelInfo]) -> None:
    """Everything below the choice of models: first what matters most, then the details."""
    if not models:
        return
    _write_link(model=",".join(model.name for model in models))
    reports = [resources.report(model) for model in models]
    report = reports[0]
    for problem in dict.fromkeys(problem for one in reports for problem in one.problems):
        st.error(problem, icon=":material/error:")
    for column, one in zip(st.columns(len(reports), gap="large"), reports, strict=True):
        with column, components.guarded():
            _summary(one, alone=len(reports) == 1)
    _await_pictures()
    if len(reports) == 2:
        with components.guarded():
            st.header("Where the two disagree", anchor=False, divider="gray")
            _disagreements(*reports)
        st.caption(f"What follows is about **{_plain(report.name)}**, the first of the two.")
    for title, section in (
        ("Where does it err?", _errors),
        ("Its surest mistakes", _mistakes),
        ("How far can its percentages be trusted?", _trust),
        ("Does it notice what is none of its ten classes?", _scope),
    ):
        st.header(title, anchor=False, divider="gray")
        with components.guarded():
            section(report)
    st.header("Inside the network", anchor=False, divider="gray")
    with components.guarded():
        components_inside.show_inside(report)
    with components.guarded():
        _card(reports)


def _summary(report: Report, *, alone: bool) -> None:
    """The few numbers that matter most, and the card in plain words."""
    if not alone:
        st.subheader(report.name, anchor=False)
    with st.grid(4 if alone else 2, min_column_width=150):
        margin = f"± {100 * report.margin:.1f} points" if report.margin else None
        _metric(
            "Right answers", report.accuracy and f"{100 * report.accuracy:.1f} %", margin,
            "Test accuracy: the share of right answers on pictures that it never learned from. Another set of as many "
            "pictures would give a number within ± this (95 % confidence).",
        )  # fmt: skip
        worst, name = _worst(report)
        _metric(
            "Top mistake", name, worst and f"{worst[2]} of {worst[3]:,}",
            "The wrong answer that it gives most often, and how often.",
        )  # fmt: skip
        when = _when_it_says_80(report)
        _metric(
            f"When it says {100 * when[0]:.0f} %" if when else "When it says 80 %",
            when and f"{100 * when[1]:.0f} %",
            "is it right",
            "Of the answers that it gives with about this percentage, so many are right. Equal is best.",
        )
        validation = report.score("validation_accuracy")
        put_aside = "of synthetic pictures" if report.is_distilled else "held-out pictures"
        _metric(
            "Validation", validation and f"{100 * validation:.1f} %", put_aside,
            "Right answers on training pictures put aside, by which the best epoch was chosen.",
        )  # fmt: skip
    st.markdown(_plain(" ".join(report.sentences())))
    if report.is_epoch:
        _missing(report, "What this one epoch scores")
    elif report.accuracy is None and not report.problems:
        _missing(report, "How often it is right on test pictures")


def _metric(label: str, value: str | None, below: str | None, explained: str) -> None:
    st.metric(
        label, value or "–", below if value else None, delta_color="off", delta_arrow="off", help=explained, border=True
    )


def _worst(report: Report) -> tuple[tuple[int, int, int, int] | None, str | None]:
    """(truth, answer, times, of) of the commonest mistake, and its name."""
    if report.confusion is None:
        return None, None
    wrong = report.confusion * (1 - np.eye(10, dtype=np.int64))
    truth, answer = (int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
    if not wrong[truth, answer]:
        return None, None
    found = (truth, answer, int(wrong[truth, answer]), int(report.confusion[truth].sum()))
    return found, f"{CLASS_NAMES[truth]} → {CLASS_NAMES[answer]}"


def _when_it_says_80(report: Report) -> tuple[float, float] | None:
    """How sure, and how often right, in the group of answers nearest to 80 %."""
    if report.bins is None:
        return None
    sure, right, _ = min(report.bins, key=lambda row: abs(row[0] - 0.8))
    return (float(sure), float(right)) if abs(sure - 0.8) < 0.15 else None


def _missing(report: Report, what: str) -> None:
    """Say that something isn't known of this model, and how to get it."""
    name = _plain(report.name)
    if report.is_epoch:
        run = report.name.partition("@")[0]
        how = f"It is measured for a run's best epoch alone: choose **{_plain(run)}** above."
    elif any("card.json" in problem for problem in report.problems) or not report.card:
        how = f"{name} has no card that can be read. A card is written when a training ends."
    elif report.is_distilled:
        how = (
            f"{name} learned from the distilled pictures that ship with this project; what it does with real "
            "photographs was not measured. Train with CIFAR-10 for that."
        )
    else:
        how = f"{name} was trained before this was measured, or its training has not ended. With CIFAR-10 at hand: "
        how += f"`python -m cifar_model assess {report.name}`"
    st.info(f"{what} isn't known. {how}", icon=":material/info:")


def _get(card: dict, *keys: str):
    for key in keys:
        card = card.get(key) if isinstance(card, dict) else None
    return card


# Pictures


def _await_pictures() -> None:
    """Draw the page again once the test pictures have been read."""
    try:
        waiting = resources.test_split() is None
    except DatasetError:
        return
    if waiting:
        st.info("The test pictures are being read for the first time; they appear here by themselves.",
                icon=":material/hourglass_top:")  # fmt: skip
        st.fragment(_watch, run_every=1.0)()


def _watch() -> None:
    try:
        waiting = resources.test_split() is None
    except DatasetError:
        waiting = False
    if not waiting:
        st.rerun()


def _test_pictures(*reports: Report, quiet: bool = False) -> np.ndarray | None:
    """The test pictures that these models were scored on, or None, having said why (in few words if `quiet`)."""
    if any(report.answers is None for report in reports):
        return None
    try:
        split = resources.test_split()
    except DatasetError as error:
        reason = str(error).removesuffix(THREE_WAYS).strip()
        if quiet:
            st.caption(f"The pictures can't be shown: {_plain(reason)}")
        else:
            st.info(
                f"The pictures of this cell can't be shown. {_plain(reason)}", icon=":material/image_not_supported:"
            )
            with st.expander("How to get the pictures of CIFAR-10", icon=":material/download:"):
                st.markdown("In a terminal, or with the button on the Train page; then open this page again.")
                st.code(THREE_WAYS, "text", wrap_lines=True)
        return None
    if split is None:
        st.caption("The test pictures are being read …")
        return None
    if not all(np.array_equal(split[1], report.answers.labels) for report in reports):
        st.info(
            f"The test pictures here ({len(split[1]):,}) are not those that this model was scored on "
            f"({len(reports[0].answers.labels):,}), or lie in another order, so they can't be shown beside its "
            f"answers. `python -m cifar_model assess {reports[0].name}` scores it on these.",
            icon=":material/image_not_supported:",
        )
        return None
    return split[0]


def _gallery(
    numbers: np.ndarray, pictures: np.ndarray, tell, *, key: str, label: str, reports: list[Report], a_page: int = 18
) -> None:
    """Test pictures, some at a time; a click opens one. `tell`: number → title, note, colour of its tile."""
    pages = -(-len(numbers) // a_page)
    page = st.pagination(pages, key=f"{key}_page", max_visible_pages=5) if pages > 1 else 1
    page = min(page, pages)
    shown = numbers[(page - 1) * a_page : page * a_page]

    def tile(number: int) -> dict:
        title, note, color = tell(number)
        return {
            "id": str(number), "src": data_url(pictures[number]), "alt": f"Test picture {number}: {note}, {title}",
            "title": title, "note": note, "color": color, "exact": True, "whole": False, "failed": False,
        }  # fmt: skip

    def pick(identity: str) -> None:
        st.session_state[OPENED] = key, int(identity)

    tiles = [tile(int(number)) for number in shown]
    components.gallery(tiles, label=label, key=key, selected=None, on_pick=pick, size=TILE)
    gallery, number = st.session_state.get(OPENED, (None, 0))
    if gallery == key and number in shown:
        _open_picture(number, pictures, reports)


def _close() -> None:
    st.session_state.pop(OPENED, None)


@st.dialog("A test picture", on_dismiss=_close, width="medium")
def _open_picture(number: int, pictures: np.ndarray, reports: list[Report]) -> None:
    """One test picture, large, with all that was answered, and where to take it."""
    pixels = np.asarray(pictures[number])
    truth = CLASS_NAMES[reports[0].answers.labels[number]]
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        st.image(encode_png(pixels, scale=8), width=256, alt=f"Test picture {number}: {truth}")
        st.markdown(f"Labelled **{truth}**  \n:small[test picture {number}, 32 × 32 pixels]")
    with right:
        for report in reports:
            belief = report.probabilities[number]
            best = CLASS_NAMES[int(belief.argmax())]
            st.markdown(f":small[{_plain(report.name)}]  \n**{best} · {components.percent(float(belief.max()))}**")
            components.bars(belief, label=f"Probabilities by {report.name}", key=f"models_bars_{report.name}")
    with st.container(horizontal=True):
        ways = {"a": "as the first picture", "b": "as the second picture"}
        slot = st.menu_button("Use in Blend", list(ways), format_func=ways.get, icon=":material/gradient:")
        if slot:
            _close()
            url = data_url(pixels, scale=8)
            use_in_blend(slot, Picture(f"{truth}, test {number}", 32, 32, url, url, pixels))
        if st.button("Follow it through the network", icon=":material/layers:"):
            _close()
            components_inside.follow(f"{truth}, test picture {number}", pixels)
            st.rerun()


# Where does it err?


@st.fragment
def _errors(report: Report) -> None:
    """The confusion matrix, the pictures of one of its cells, and each class's scores."""
    if report.confusion is None:
        return _missing(report, "Which class it takes for which")
    worst, _ = _worst(report)
    cell = st.session_state.get(CELL) or (worst[:2] if worst else (0, 0))
    left, right = st.columns([1.15, 1], gap="large")
    with left:
        st.caption(
            "The confusion matrix: each row is what pictures are, each column what the network said. "
            "Blue: right. Orange: mistakes. **Click a cell to see its pictures.**"
        )

        def picked() -> None:
            found = re.fullmatch(r"(\d)-(\d)", str(st.session_state["models_confusion"].picked))
            if found:
                st.session_state[CELL] = truth, answer = int(found[1]), int(found[2])
                _write_link(cell=f"{CLASS_NAMES[truth]}-{CLASS_NAMES[answer]}")

        _confusion(
            key="models_confusion",
            data={
                "classes": components.CLASSES,
                "counts": report.confusion.tolist(),
                "selected": list(cell),
                "label": f"Confusion matrix of {report.name}: rows are true classes, columns answers",
            },
            on_picked_change=picked,
        )
    with right, components.guarded():
        _cell(report, *cell)
    _classes(report)


def _cell(report: Report, truth: int, answer: int) -> None:
    count, total = int(report.confusion[truth, answer]), int(report.confusion[truth].sum())
    name, said = CLASS_NAMES[truth], CLASS_NAMES[answer]
    what = f"{name} recognised" if truth == answer else f"{name} taken for {said}"
    share = f" ({components.percent(count / total)})" if total and count else ""
    st.subheader(what, anchor=False)
    st.caption(f"{count:,} of {total:,} test pictures of this class{share}, the surest answers first.")
    if not count:
        return None
    if report.answers is None:
        return _missing(report, "Which pictures these are")
    pictures = _test_pictures(report)
    if pictures is None:
        return None

    def tell(number: int) -> tuple[str, str, str]:
        return f"{components.percent(float(report.probabilities[number].max()))}", f"is: {name}", CLASS_COLORS[said]

    _gallery(
        report.cell(truth, answer), pictures, tell,
        key=f"models_cell_{truth}_{answer}", label=f"Pictures: {what}", reports=[report],
        a_page=15,
    )  # fmt: skip


def _classes(report: Report) -> None:
    """Precision and recall by class."""
    if report.by_class is None:
        return
    precision, recall = report.by_class
    words, table = st.columns([1.15, 1], gap="large")
    with words:
        st.subheader("Class by class", anchor=False)
        if np.isfinite(recall).any():
            best, worst = int(np.nanargmax(recall)), int(np.nanargmin(recall))
            st.markdown(
                f"It finds **{CLASS_NAMES[best]}** best ({100 * recall[best]:.0f} %), **{CLASS_NAMES[worst]}** worst "
                f"({100 * recall[worst]:.0f} %)."
            )
        st.caption("**Recall**: of all pictures of a class, how many it calls so.")
        st.caption("**Precision**: of all that it calls so, how many are.")
    bar = {"format": "%.1f %%", "min_value": 0.0, "max_value": 100.0}
    table.dataframe(
        {"Class": list(CLASS_NAMES), "Recall": 100 * recall, "Precision": 100 * precision},
        hide_index=True,
        column_config={
            "Class": st.column_config.TextColumn(width=96),
            "Recall": st.column_config.ProgressColumn(
                width=112, help="Of all pictures of the class, how many it calls so.", **bar
            ),
            "Precision": st.column_config.ProgressColumn(
                width=112, help="Of all that it calls so, how many are.", **bar
            ),
        },
        height="content",
        alt="Recall and precision of each class",
    )


# Its surest mistakes


@st.fragment
def _mistakes(report: Report) -> None:
    if report.answers is None:
        return _missing(report, "Which pictures it gets wrong")
    wrong = report.mistakes()
    if not len(wrong):
        st.success(f"It makes none on {len(report.answers.labels):,} test pictures.", icon=":material/check:")
        return None
    st.caption(
        f"All {len(wrong):,} wrong answers, the surest first. Look closely: some pictures are hard, some show two "
        "things, and some carry a wrong label."
    )
    pictures = _test_pictures(report, quiet=True)
    if pictures is None:
        return _mistakes_table(report, wrong)

    def tell(number: int) -> tuple[str, str, str]:
        belief = report.probabilities[number]
        said = CLASS_NAMES[int(belief.argmax())]
        truth = CLASS_NAMES[report.answers.labels[number]]
        return f"{said} {components.percent(float(belief.max()))}", f"is: {truth}", CLASS_COLORS[said]

    _gallery(wrong, pictures, tell, key="models_mistakes", label="The surest mistakes", reports=[report])


def _mistakes_table(report: Report, wrong: np.ndarray) -> None:
    """Without the pictures, what can be told of the first of them."""
    wrong = wrong[:50]
    st.dataframe(
        {
            "Test picture": wrong,
            "It is": [CLASS_NAMES[i] for i in report.answers.labels[wrong]],
            "It said": [CLASS_NAMES[i] for i in report.predicted[wrong]],
            "How sure": report.probabilities[wrong].max(axis=1).astype(float),
        },
        hide_index=True,
        column_config={"How sure": st.column_config.NumberColumn(format="percent")},
        height=250,
        width=720,
        alt="The surest mistakes",
    )


# How far can its percentages be trusted?


def _trust(report: Report) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        _reliability(report)
    with right:
        _sets(report)
    why = report.explanation
    if why is not None:
        st.subheader("Can its reasons be trusted?", anchor=False)
        st.markdown(
            f"Classify marks where in a picture the evidence for a class lies. On {why['images']:,.0f} test pictures, "
            f"painting over the marked fifth of the pixels cost the class {100 * why['drop_marked']:.0f} points of "
            f"probability, painting over a random fifth {100 * why['drop_random']:.0f}: the wider apart, the more the "
            "marks are what the network goes by."
        )


def _reliability(report: Report) -> None:
    st.subheader("Does 80 % mean 80 %?", anchor=False)
    if report.bins is None:
        return _missing(report, "How well its percentages hold")
    st.caption(
        "A reliability diagram: test pictures in groups, by how sure the answer was. On the dashed line percentages "
        "mean what they say; below it the network is too sure, above it too modest."
    )
    spec = resources.chart("reliability", report.bins, report.bins_before)
    st.vega_lite_chart(spec=spec, width="stretch", height=400)
    said = []
    if report.calibration_error is not None:
        said.append(f"Mean gap between percentage and truth: **{100 * report.calibration_error:.1f} points**")
        if report.calibration_error_before is not None:
            said[-1] += f", without correction {100 * report.calibration_error_before:.1f}"
        said[-1] += " (expected calibration error, 15 groups of equal size)."
    if report.calibration and report.bins_before is not None:
        confidence, accuracy, _ = np.average(report.bins_before, axis=0, weights=report.bins_before[:, 2])
        kind = "too modest" if confidence < accuracy else "too sure"
        fitted_on = _get(report.card, "calibration", "fitted_on")
        where = f", found on {fitted_on}" if isinstance(fitted_on, str) else ""
        said.append(
            f"The network's own percentages were {kind}. They are corrected by {_correction(report)}{where}; which "
            "class wins never changes."
        )
    for sentence in said:
        st.markdown(sentence)


def _correction(report: Report) -> str:
    temperature, power = report.calibration["temperature"], report.calibration["power"]
    said = f"a temperature of {temperature:.2f} (one number for all answers: above 1 makes them less sure, below surer)"
    return said + (f" and a power of {power:.2f} (a second one, for where a single one does not fit)" if power else "")


def _sets(report: Report) -> None:
    st.subheader("“Cat or dog”: answer sets", anchor=False)
    if not report.set_levels:
        return _missing(report, "How large its answer sets are")
    st.caption(
        "Instead of one class, a set that holds the right one as often as asked for (conformal prediction). The surer "
        "you want to be, the larger the set; a good network needs small ones."
    )
    levels = report.set_levels
    st.dataframe(
        {
            "Asked for": [f"{level.level} %" for level in levels],
            "Held the truth": [None if level.coverage is None else 100 * level.coverage for level in levels],
            "Classes in a set": [level.mean_size for level in levels],
        },
        hide_index=True,
        column_config={
            "Held the truth": st.column_config.NumberColumn(
                format="%.1f %%", help="Coverage: the share of test pictures whose set holds the true class."
            ),
            "Classes in a set": st.column_config.NumberColumn(format="%.2f", help="The mean size of the sets."),
        },
        height="content",
        alt="Coverage and mean size of the answer sets at each level",
    )
    if any(level.classes for level in levels):
        st.caption("Classes in a set, by what a picture is: the larger, the harder the class.")
        st.dataframe(
            {"Class": list(CLASS_NAMES)}
            | {f"{level.level} %": [level.classes.get(name) for name in CLASS_NAMES] for level in levels},
            hide_index=True,
            column_config={f"{level.level} %": st.column_config.NumberColumn(format="%.2f") for level in levels},
            height="content",
            alt="Mean size of the answer sets by class and level",
        )


# Does it notice what is none of its ten classes?


def _scope(report: Report) -> None:
    scope = report.scope
    if scope is None:
        return _missing(report, "Whether it notices pictures of other things")
    left, right = st.columns([1.25, 1], gap="large")
    with left:
        st.caption(
            "A score says how much a picture resembles what the network learned from. Blue: test pictures of the ten "
            "classes; orange: pictures that show nothing (noise, gradients, textures). Left of the grey line a picture "
            "is called out of scope."
        )
        st.vega_lite_chart(
            spec=resources.chart("scope", scope.edges, scope.test, scope.outside, scope.threshold),
            width="stretch",
            height=360,
        )
    with right:
        if scope.false_alarms is not None:
            st.metric(
                "False alarms", f"{100 * scope.false_alarms:.1f} %", "of good test pictures are turned away",
                delta_color="off", delta_arrow="off", border=True, width=320,
                help="The line is set so that about 5 % of held-out pictures of the ten classes fall below it.",
            )  # fmt: skip
        how = [f"The score: {_plain(scope.method)}."] if scope.method else []
        how += [f"Fitted on {_plain(scope.fitted_on)}."] if scope.fitted_on else []
        st.markdown(" ".join(how))
        rows = {name: probe for name, probe in scope.probes.items() if probe}
        if rows:
            st.caption(
                "Pictures of other things. **Noticed**: called out of scope. **AUROC**: how often one of these scores "
                "lower than a test picture; 1 is perfect, 0.5 chance."
            )
            st.dataframe(
                {
                    "Pictures": list(rows),
                    "Noticed": [_get(probe, "flagged") for probe in rows.values()],
                    "AUROC": [_get(probe, "auroc") for probe in rows.values()],
                },
                hide_index=True,
                column_config={
                    "Noticed": st.column_config.NumberColumn(format="percent"),
                    "AUROC": st.column_config.NumberColumn(format="%.3f"),
                },
                height="content",
                alt="How well pictures of other things are noticed",
            )


# Two models


@st.fragment
def _disagreements(first: Report, second: Report) -> None:
    found = compare(first, second)
    if found is None:
        for report in (first, second):
            if report.answers is None:
                return _missing(report, f"What {_plain(report.name)} answered to each test picture")
        st.info("The two were scored on different test pictures.", icon=":material/info:")
        return None
    total = len(first.answers.labels)
    st.markdown(
        f"They answer **{found.agree:,} of {total:,}** test pictures alike. On the others, either one is right and "
        "the other wrong, or both are wrong, each in its own way."
    )
    groups = _groups(found, first, second)
    choice = st.segmented_control(
        "Pictures on which", list(groups), default=next(iter(groups)), required=True, key="models_disagree",
        format_func=lambda group: f"{groups[group][0]}: {len(groups[group][1]):,}",
    )  # fmt: skip
    numbers = groups[choice][1]
    if not len(numbers):
        st.caption("There is none.")
        return None
    pictures = _test_pictures(first, second)
    if pictures is None:
        return None

    def tell(number: int) -> tuple[str, str, str]:
        a, b = (CLASS_NAMES[report.predicted[number]] for report in (first, second))
        return f"{a} / {b}", f"is: {CLASS_NAMES[first.answers.labels[number]]}", CLASS_COLORS[a]

    st.caption(f"Below each picture: what {_plain(first.name)} said / what {_plain(second.name)} said.")
    _gallery(
        numbers, pictures, tell, key=f"models_disagree_{choice}", label="Pictures on which they disagree",
        reports=[first, second],
    )  # fmt: skip


def _groups(found: Comparison, first: Report, second: Report) -> dict[str, tuple[str, np.ndarray]]:
    return {
        "first": (f"only {first.name} is right", found.first_right),
        "second": (f"only {second.name} is right", found.second_right),
        "none": ("both are wrong", found.both_wrong),
    }


# The card


def _card(reports: list[Report]) -> None:
    with st.expander("The card: all of this as a file", icon=":material/badge:"):
        st.caption(
            "A model's card is written when its training ends: settings, data, seed, versions, scores. "
            "The command repeats the training."
        )
        for report in reports:
            if not report.card:
                _missing(report, "Its card")
                continue
            command = report.card.get("command")
            if isinstance(command, str):
                st.code(command, "shell", wrap_lines=True)
            st.download_button(
                f"Card of {report.name} (JSON)", json.dumps(report.card, indent=2), f"{report.name}-card.json",
                "application/json", icon=":material/download:", on_click="ignore", key=f"models_card_{report.name}",
            )  # fmt: skip
            st.json(report.card, expanded=1)


def _plain(text: str) -> str:
    """Text as Markdown shows it: letter by letter."""
    return re.sub(r"([\\`*_{}\[\]#!|~$:<>&])", r"\\\1", text)
