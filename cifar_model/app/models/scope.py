"""How well a model tells what is none of the ten."""

import streamlit as st

from cifar_model.app.models.words import show_missing
from cifar_model.app.shared import resources
from cifar_model.text import escape_markdown, share
from cifar_model.trust.report import Report


def show_scope(report: Report) -> None:
    scope = report.scope
    if scope is None:
        return show_missing(report, "Whether it recognises images of other things")
    histogram = scope.histogram
    left, right = st.columns([1.25, 1], gap="large")
    with left:
        st.caption(
            "The score of an image in scope is high, of one that shows none of the ten classes low. Blue: test images "
            "of the ten classes; orange: images that show none (noise, gradients, textures). Left of the grey line an "
            "image is flagged as out of scope."
        )
        st.vega_lite_chart(
            spec=resources.chart("scope", histogram.edges, histogram.test, histogram.outside, scope.threshold),
            width="stretch",
            height=360,
        )
    with right:
        if scope.false_alarms is not None:
            st.metric(
                "False alarms", share(scope.false_alarms), "of test images are flagged",
                delta_color="off", delta_arrow="off", border=True, width=320,
                help="The line is set so that about 5 % of held-out images of the ten classes fall below it.",
            )  # fmt: skip
        how = [f"The score: {escape_markdown(scope.method)}."] if scope.method else []
        how += [f"Fitted on {escape_markdown(scope.fitted_on)}."] if scope.fitted_on else []
        st.markdown(" ".join(how))
        rows = scope.probes
        if rows:
            st.caption(
                "Images of other things. **Flagged**: called out of scope. **AUROC**: how often one of these scores "
                "lower than a test image; 1 is perfect, 0.5 chance."
            )
            st.dataframe(
                {
                    "Images": list(rows),
                    "Flagged": [probe.flagged for probe in rows.values()],
                    "AUROC": [probe.auroc for probe in rows.values()],
                },
                hide_index=True,
                column_config={
                    "Flagged": st.column_config.NumberColumn(format="percent"),
                    "AUROC": st.column_config.NumberColumn(format="%.3f"),
                },
                height="content",
                alt="How well images of other things are recognised",
            )
