"""Blend: mix two pictures and watch what a network believes on the way from one to the other."""

import streamlit as st

from cifar_model.ui import components, resources
from cifar_model.ui.components_blend import choose_blend, show_blend
from cifar_model.ui.state import blend_state

resources.answering()

with components.guarded():
    blend = blend_state()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        st.title("Blend", anchor=False, width="content")
        with st.container(width=680):
            models = components.choose_models()
    if blend.refused:
        st.warning(
            f"Part of the link made no sense here and was left out: {', '.join(blend.refused)}.",
            icon=":material/link_off:",
        )
    mode = choose_blend(blend)
    show_blend(blend, mode, models)
resources.settle("blend")
