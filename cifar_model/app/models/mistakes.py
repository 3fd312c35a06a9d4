"""The surest mistakes."""

import numpy as np
import streamlit as st

from cifar_model.app.models.browse import test_gallery, test_pictures
from cifar_model.app.models.words import show_missing
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.text import percent
from cifar_model.trust.report import Report


@st.fragment
def show_mistakes(report: Report) -> None:
    if report.answers is None:
        return show_missing(report, "Which images it gets wrong")
    wrong = report.mistakes()
    if not len(wrong):
        st.success(f"None on {len(report.answers.labels):,} test images.", icon=":material/check:")
        return None
    st.caption(
        f"All {len(wrong):,} wrong answers, the most confident first. Look closely: some images are hard, some show "
        "two things, and some carry a wrong label."
    )
    pictures = test_pictures(report, quiet=True)
    if pictures is None:
        return _mistakes_table(report, wrong)

    def tell(number: int) -> tuple[str, str, str]:
        belief = report.probabilities[number]
        said = CLASS_NAMES[int(belief.argmax())]
        truth = CLASS_NAMES[report.answers.labels[number]]
        return f"{said} {percent(float(belief.max()))}", f"is: {truth}", CLASS_COLORS[said]

    test_gallery(wrong, pictures, tell, key="models_mistakes", label="Most confident mistakes", reports=[report])


def _mistakes_table(report: Report, wrong: np.ndarray) -> None:
    """Without the images, what can be told of the first of them."""
    wrong = wrong[:50]
    st.dataframe(
        {
            "Test image": wrong,
            "True class": [CLASS_NAMES[i] for i in report.answers.labels[wrong]],
            "Predicted": [CLASS_NAMES[i] for i in report.predicted[wrong]],
            "Confidence": report.probabilities[wrong].max(axis=1).astype(float),
        },
        hide_index=True,
        column_config={"Confidence": st.column_config.NumberColumn(format="percent")},
        height=250,
        width=720,
        alt="Most confident mistakes",
    )
