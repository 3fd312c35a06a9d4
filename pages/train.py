"""Train: choose settings, watch a network learn, keep and compare what was learned."""

import streamlit as st

from cifar_model.ui import components, resources, training, training_form, training_runs

st.title("Train", anchor=False)
st.caption(
    "Watch a network learn to tell ten kinds of picture apart. It learns in a process of its own: "
    "close the browser if you like, it goes on, and this page finds it again."
)
with components.guarded():
    has_data = training_form.data_section()
    run = training.shown_run()
    if run:
        training.run_panel(run)
        with st.expander("Start another run", icon=":material/add:"):
            training_form.run_form(has_data)
    else:
        with st.container(border=True):
            st.subheader("New run", anchor=False)
            training_form.run_form(has_data)
    training_runs.past_runs()
    training.watch()
    training_runs.open_dialog()
resources.settle("train")
