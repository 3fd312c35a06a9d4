"""All that Models shows below the choice of models: the figures that matter, and one question at a time."""

from collections.abc import Callable

import streamlit as st

from cifar_model.app.models.blends import show_blends
from cifar_model.app.models.bring import show_bring
from cifar_model.app.models.browse import await_pictures
from cifar_model.app.models.card import show_card
from cifar_model.app.models.confusion import show_errors
from cifar_model.app.models.disagreements import show_disagreements
from cifar_model.app.models.inside import show_inside
from cifar_model.app.models.link import QUESTION, write_models_link
from cifar_model.app.models.mistakes import show_mistakes
from cifar_model.app.models.scope import show_scope
from cifar_model.app.models.summary import show_sentences, show_summary
from cifar_model.app.models.take import show_take
from cifar_model.app.models.trust import show_reliability, show_sets
from cifar_model.app.shared import resources
from cifar_model.app.shared.discreet import discreet
from cifar_model.app.shared.page import guarded
from cifar_model.app.shared.remembered import forget, kept_widget, remembered
from cifar_model.models.folder import ModelInfo
from cifar_model.text import escape_markdown
from cifar_model.trust.report import Report


def _show_in_and_out(report: Report) -> None:
    show_take(report)
    show_bring()


# Of each question, as a link names it: how its button is called, the question itself, and who answers it.
QUESTIONS: dict[str, tuple[str, str, Callable[[Report], None]]] = {
    "confusion": ("Confusions", "Which classes does it confuse?", show_errors),
    "mistakes": ("Mistakes", "What are its most confident mistakes?", show_mistakes),
    "confidence": ("Confidence", "Does 80 % mean 80 %?", show_reliability),
    "sets": ("Answer sets", "How large are its answer sets?", show_sets),
    "scope": ("Other things", "Does it recognise images outside its ten classes?", show_scope),
    "blends": ("Blends", "Does it read a blend of two images?", lambda report: show_blends([report])),
    "inside": ("Inside", "What goes on inside the network?", show_inside),
    "files": ("In and out", "Take it along, or bring your own", _show_in_and_out),
    "card": ("Card", "What is known of it?", lambda report: show_card([report])),
}
COMPARED = {"disagree": ("Disagreements", "Where do the two disagree?", lambda report: None)}


def show_models(models: list[ModelInfo]) -> None:
    """The figures that matter most, then the one question that is open: the others are not computed."""
    if not models:
        return show_bring()
    reports = [resources.report(model) for model in models]
    for problem in dict.fromkeys(problem for one in reports for problem in one.problems):
        st.error(discreet(problem), icon=":material/error:")
    for column, one in zip(st.columns(len(reports), gap="large"), reports, strict=True):
        with column, guarded():
            show_summary(one, alone=len(reports) == 1)
    questions = QUESTIONS if len(reports) == 1 else COMPARED | QUESTIONS
    if remembered(QUESTION) not in questions:
        forget(QUESTION)
    question = kept_widget(
        st.segmented_control, "Question", list(questions), format_func=lambda name: questions[name][0], key=QUESTION,
        default=next(iter(questions)), required=True, label_visibility="collapsed",
    )  # fmt: skip
    write_models_link(",".join(model.name for model in models), question)
    st.header(questions[question][1], anchor=False)
    await_pictures()
    with guarded():
        _answer(question, reports)


def _answer(question: str, reports: list[Report]) -> None:
    if question == "disagree":
        show_disagreements(*reports)
    elif question == "card":
        for report in reports:
            show_sentences(report)
        show_card(reports)
    elif question == "blends":
        show_blends(reports)
    else:
        if len(reports) == 2:
            st.caption(f"About **{escape_markdown(reports[0].name)}**, the first of the two.")
        QUESTIONS[question][2](reports[0])
