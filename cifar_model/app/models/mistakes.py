"""The surest mistakes."""

import numpy as np
import streamlit as st

from cifar_model.app.models.browse import test_gallery, test_pictures
from cifar_model.app.models.words import show_missing
from cifar_model.app.shared.page import percent
from cifar_model.classes import CLASS_COLORS, CLASS_NAMES
from cifar_model.trust.report import Report


@st.fragment
def show_mistakes(report: Report) -> None:
    if report.answers is None:
        return show_missing(report, "Which pictures it gets wrong")
    wrong = report.mistakes()
    if not len(wrong):
        st.success(f"It makes none on {len(report.answers.labels):,} test pictures.", icon=":material/check:")
        return None
    st.caption(
        f"All {len(wrong):,} wrong answers, the surest first. Look closely: some pictures are hard, some show two "
        "things, and some carry a wrong label."
    )
    pictures = test_pictures(report, quiet=True)
    if pictures is None:
        return _mistakes_table(report, wrong)

    def tell(number: int) -> tuple[str, str, str]:
        belief = report.probabilities[number]
        said = CLASS_NAMES[int(belief.argmax())]
        truth = CLASS_NAMES[report.answers.labels[number]]
        return f"{said} {percent(float(belief.max()))}", f"is: {truth}", CLASS_COLORS[said]

    test_gallery(wrong, pictures, tell, key="models_mistakes", label="The surest mistakes", reports=[report])


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
