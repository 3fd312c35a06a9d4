"""Where two models disagree."""

import numpy as np
import streamlit as st

from cifar_model.app.models.browse import test_gallery, test_pictures
from cifar_model.app.models.words import show_missing
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.text import escape_markdown
from cifar_model.trust.compare import Comparison, compare, in_order_of
from cifar_model.trust.report import Report


@st.fragment
def show_disagreements(first: Report, second: Report) -> None:
    found = compare(first, second)
    if found is None:
        for report in (first, second):
            if report.answers is None:
                return show_missing(report, f"What {escape_markdown(report.name)} answered to each test image")
        st.info("The two were scored on different test images.", icon=":material/info:")
        return None
    second = in_order_of(first, second)
    total = len(first.answers.labels)
    st.markdown(
        f"They give the same answer to **{found.agree:,} of {total:,}** test images. On the others one of them is "
        "wrong, or both are, each in its own way."
    )
    groups = _groups(found, first, second)
    choice = st.segmented_control(
        "Images on which", list(groups), default=next(iter(groups)), required=True, key="models_disagree",
        format_func=lambda group: f"{groups[group][0]}: {len(groups[group][1]):,}",
    )  # fmt: skip
    numbers = groups[choice][1]
    if not len(numbers):
        st.caption("There are none.")
        return None
    pictures = test_pictures(first)
    if pictures is None:
        return None

    def tell(number: int) -> tuple[str, str, str]:
        a, b = (CLASS_NAMES[report.predicted[number]] for report in (first, second))
        return f"{a} / {b}", f"is: {CLASS_NAMES[first.answers.labels[number]]}", CLASS_COLORS[a]

    st.caption(f"Below each image: the answer of {escape_markdown(first.name)} / of {escape_markdown(second.name)}.")
    test_gallery(
        numbers, pictures, tell, key=f"models_disagree_{choice}", label="Images on which they disagree",
        reports=[first, second],
    )  # fmt: skip


def _groups(found: Comparison, first: Report, second: Report) -> dict[str, tuple[str, np.ndarray]]:
    return {
        "first": (f"only {first.name} is correct", found.first_right),
        "second": (f"only {second.name} is correct", found.second_right),
        "none": ("both are wrong", found.both_wrong),
    }
