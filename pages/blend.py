"""Blend: mix two pictures and watch what a network believes on the way from one to the other."""

import streamlit as st

from cifar_model.app.blend.ambiguous import choose_ambiguous
from cifar_model.app.blend.show import show_blend
from cifar_model.app.shared import resources
from cifar_model.app.shared.blend_state import blend_state
from cifar_model.app.shared.options import choose_models
from cifar_model.app.shared.page import guarded, header
from cifar_model.app.shared.parts import shows

resources.warm_up()
with guarded():
    place = header("Blend", "What does a network make of 40 % cat and 60 % dog?")
    blend = blend_state()
    models, reading = choose_models(place, beside="mix-net")
    live = st.container()
    if shows("ambiguous"):
        choose_ambiguous(blend, models, reading)
    with live:
        show_blend(blend, models, reading)
