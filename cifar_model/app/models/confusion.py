"""Where a model errs: the confusion matrix, the pictures of a cell, each class's scores."""

import re

import numpy as np
import streamlit as st

from cifar_model.app.browser.component import component
from cifar_model.app.models.browse import test_gallery, test_pictures
from cifar_model.app.models.link import CELL, write_cell
from cifar_model.app.models.summary import commonest_mistake
from cifar_model.app.models.words import show_missing
from cifar_model.app.shared.lens import CLASSES
from cifar_model.app.shared.page import guarded
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.text import percent, share
from cifar_model.trust.report import Report

_confusion = component("confusion")


@st.fragment
def show_errors(report: Report) -> None:
    """The confusion matrix, the pictures of one of its cells, and each class's scores."""
    if report.confusion is None:
        return show_missing(report, "Which classes it confuses")
    worst, _ = commonest_mistake(report)
    cell = st.session_state.get(CELL) or (worst[:2] if worst else (0, 0))
    left, right = st.columns([1.15, 1], gap="large")
    with left:

        def picked() -> None:
            found = re.fullmatch(r"(\d)-(\d)", str(st.session_state["models_confusion"].picked))
            if found:
                write_cell(int(found[1]), int(found[2]))

        _confusion(
            key="models_confusion",
            data={
                "classes": CLASSES,
                "counts": report.confusion.tolist(),
                "selected": list(cell),
                "label": f"Confusion matrix of {report.name}: rows are true classes, columns predicted ones",
            },
            on_picked_change=picked,
        )
    with right, guarded():
        st.caption(
            "The confusion matrix: a row for each true class, a column for each predicted class. "
            "Blue: correct. Orange: mistakes. **Click a cell to see its images.**"
        )
        _cell(report, *cell)
    _classes(report)


def _cell(report: Report, truth: int, answer: int) -> None:
    count, total = int(report.confusion[truth, answer]), int(report.confusion[truth].sum())
    name, said = CLASS_NAMES[truth], CLASS_NAMES[answer]
    what = f"{name} recognised" if truth == answer else f"{name} taken for {said}"
    part = f" ({share(count / total)})" if total and count else ""
    st.subheader(what, anchor=False)
    st.caption(f"{count:,} of {total:,} test images of this class{part}, the most confident answers first.")
    if not count:
        return None
    if report.answers is None:
        return show_missing(report, "Which images these are")
    pictures = test_pictures(report)
    if pictures is None:
        return None

    def tell(number: int) -> tuple[str, str, str]:
        return f"{percent(float(report.probabilities[number].max()))}", f"is: {name}", CLASS_COLORS[said]

    test_gallery(
        report.cell(truth, answer), pictures, tell,
        key=f"models_cell_{truth}_{answer}", label=f"Images: {what}", reports=[report],
        a_page=15,
    )  # fmt: skip


def _classes(report: Report) -> None:
    """Precision and recall by class."""
    if report.by_class is None:
        return
    precision, recall = report.by_class
    words, table = st.columns([1.15, 1], gap="large")
    with words:
        st.subheader("By class", anchor=False)
        if np.isfinite(recall).any():
            best, worst = int(np.nanargmax(recall)), int(np.nanargmin(recall))
            st.markdown(
                f"Highest recall: **{CLASS_NAMES[best]}** ({share(recall[best], 0)}). Lowest: "
                f"**{CLASS_NAMES[worst]}** ({share(recall[worst], 0)})."
            )
        st.caption("**Recall**: of all images of a class, the share that it recognises.")
        st.caption("**Precision**: of all images that it assigns to a class, the share that belong there.")
    bar = {"format": "%.1f %%", "min_value": 0.0, "max_value": 100.0}
    table.dataframe(
        {"Class": list(CLASS_NAMES), "Recall": 100 * recall, "Precision": 100 * precision},
        hide_index=True,
        column_config={
            "Class": st.column_config.TextColumn(width=96),
            "Recall": st.column_config.ProgressColumn(
                width=112, help="Of all images of the class, the share that it recognises.", **bar
            ),
            "Precision": st.column_config.ProgressColumn(
                width=112, help="Of all images that it assigns to the class, the share that belong there.", **bar
            ),
        },
        height="content",
        alt="Recall and precision of each class",
    )
