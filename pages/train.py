"""Train: choose settings, watch a network learn, keep and compare what was learned."""

import streamlit as st

from cifar_model.dataset import MINI
from cifar_model.ui import components, resources, training, training_data, training_form, training_runs

st.title("Train", anchor=False)
st.caption(
    "Watch a network learn to tell ten kinds of picture apart. It learns in a process of its own: "
    "close the browser if you like, it goes on, and this page finds it again."
)
with components.guarded():
    choices = training_data.find_choices()
    run = training.shown_run()
    if run:
        training.run_panel(run)
        training_data.data_section(choices)
        with st.expander("Start another run", icon=":material/add:"):
            training_form.run_form(choices)
    else:
        training_data.data_section(choices)
        with st.container(border=True):
            st.subheader("New run", anchor=False)
            training_form.run_form(choices)
    if MINI in choices.shown:
        training_data.mini_section()
    training_runs.past_runs()
    training.watch()
    training_runs.open_dialog()
resources.settle("train")
