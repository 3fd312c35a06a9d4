"""Blend: mix two pictures and watch what a network believes on the way from one to the other."""

from cifar_model.ui import components, resources
from cifar_model.ui.components_ambiguous import choose_ambiguous
from cifar_model.ui.components_blend import choose_blend, show_blend
from cifar_model.ui.state import blend_state

resources.answering()  # starts with the first page, long before it is asked
with components.guarded():
    place = components.header("Blend", "What does a network make of 40 % cat and 60 % dog?")
    blend = blend_state()
    with place:
        models = components.choose_models()
    mode, reading = choose_blend(blend, models)
    choose_ambiguous(blend, models, reading)
    show_blend(blend, mode, models, reading)
resources.settle("blend")
