"""Classify: drop in pictures, see what the network sees and what it believes."""

import streamlit as st

from cifar_model.ui import components, resources
from cifar_model.ui.components_classify import choose_pictures, show_answers

resources.answering()  # starts with the first page, long before it is asked

with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
    st.title("Classify", anchor=False, width="content")
    with st.container(width=680):
        models = components.choose_models()
with components.guarded():
    entries = choose_pictures()
    show_answers(entries, models)
resources.settle("classify")
