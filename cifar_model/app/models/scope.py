"""How well a model tells what is none of the ten."""

import streamlit as st

from cifar_model.app.models.words import get_command, plain_text, show_missing
from cifar_model.app.shared import resources
from cifar_model.trust.report import Report


def show_scope(report: Report) -> None:
    scope = report.scope
    if scope is None:
        return show_missing(report, "Whether it notices pictures of other things")
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
        how = [f"The score: {plain_text(scope.method)}."] if scope.method else []
        how += [f"Fitted on {plain_text(scope.fitted_on)}."] if scope.fitted_on else []
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
                    "Noticed": [get_command(probe, "flagged") for probe in rows.values()],
                    "AUROC": [get_command(probe, "auroc") for probe in rows.values()],
                },
                hide_index=True,
                column_config={
                    "Noticed": st.column_config.NumberColumn(format="percent"),
                    "AUROC": st.column_config.NumberColumn(format="%.3f"),
                },
                height="content",
                alt="How well pictures of other things are noticed",
            )
