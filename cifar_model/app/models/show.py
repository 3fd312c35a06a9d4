"""All that Models shows below the choice of models."""

import streamlit as st

from cifar_model.app.models.browse import await_pictures
from cifar_model.app.models.card import show_card
from cifar_model.app.models.confusion import show_errors
from cifar_model.app.models.disagreements import show_disagreements
from cifar_model.app.models.inside import show_inside
from cifar_model.app.models.link import write_models_link
from cifar_model.app.models.mistakes import show_mistakes
from cifar_model.app.models.scope import show_scope
from cifar_model.app.models.summary import show_summary
from cifar_model.app.models.trust import show_trust
from cifar_model.app.models.words import plain_text
from cifar_model.app.shared import resources
from cifar_model.app.shared.page import guarded
from cifar_model.models.folder import ModelInfo


def show_models(models: list[ModelInfo]) -> None:
    """Everything below the choice of models: first what matters most, then the details."""
    if not models:
        return
    write_models_link(model=",".join(model.name for model in models))
    reports = [resources.report(model) for model in models]
    report = reports[0]
    for problem in dict.fromkeys(problem for one in reports for problem in one.problems):
        st.error(problem, icon=":material/error:")
    for column, one in zip(st.columns(len(reports), gap="large"), reports, strict=True):
        with column, guarded():
            show_summary(one, alone=len(reports) == 1)
    await_pictures()
    if len(reports) == 2:
        with guarded():
            st.header("Where the two disagree", anchor=False, divider="gray")
            show_disagreements(*reports)
        st.caption(f"What follows is about **{plain_text(report.name)}**, the first of the two.")
    for title, section in (
        ("Where does it err?", show_errors),
        ("Its surest mistakes", show_mistakes),
        ("How far can its percentages be trusted?", show_trust),
        ("Does it notice what is none of its ten classes?", show_scope),
    ):
        st.header(title, anchor=False, divider="gray")
        with guarded():
            section(report)
    st.header("Inside the network", anchor=False, divider="gray")
    with guarded():
        show_inside(report)
    with guarded():
        show_card(reports)
