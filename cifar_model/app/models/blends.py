"""How well models read blends of two images."""

import streamlit as st

from cifar_model.app.models.words import show_missing
from cifar_model.app.shared.discreet import discreet
from cifar_model.trust.report import Report


def show_blends(reports: list[Report]) -> None:
    """The measure of blends, a row for each model; beside them what a perfect reader would get."""
    known = [report for report in reports if report.mixes is not None]
    for report in reports:
        if report not in known:
            show_missing(report, "How well it reads blends")
    if not known:
        return
    pairs = known[0].mixes.pairs
    st.caption(
        f"{pairs:,} pairs of test images of two classes, blended at 10, 20, … 90 %. A network that reads a blend gives "
        "each of the two classes its share: 40 % cat and 60 % dog in, 40 % and 60 % out. One that has never seen a "
        "blend mostly names a single class; “Train on blends” (mixup), on the Train page, teaches it."
    )
    rows = [(report.name, report.card.learned_blends, report.mixes) for report in known]
    st.dataframe(
        {
            "Model": [*(discreet(name) for name, *_ in rows), "A perfect reader"],
            "Trained on blends": [*("yes" if learned else "no" for _, learned, _ in rows), ""],
            "Distance from the share": [*(100 * mixes.share_error for *_, mixes in rows), 0.0],
            "Both classes together": [*(100 * mixes.parents_mass for *_, mixes in rows), 100.0],
            "Both on top at 50 %": [*(100 * mixes.top_two for *_, mixes in rows), 100.0],
        },
        hide_index=True,
        column_config={
            "Distance from the share": st.column_config.NumberColumn(
                format="%.1f points", help="How far the probability of a class lies from its share, on average."
            ),
            "Both classes together": st.column_config.NumberColumn(
                format="%.0f %%", help="The probability that the two classes get together, on average."
            ),
            "Both on top at 50 %": st.column_config.NumberColumn(
                format="%.0f %%", help="How often the two classes are the two most probable in an even blend."
            ),
        },
        height="content",
        alt="How well each model reads blends of two images",
    )
    st.page_link("pages/blend.py", label="Try it on Blend", icon=":material/tonality:")
