"""Train: choose settings, watch a network learn, keep and compare what was learned."""

import streamlit as st

from cifar_model.ui import training

st.title("Train", anchor=False)
st.caption(
    "Watch a network learn to tell ten kinds of picture apart. It learns in a process of its own: "
    "close the browser if you like, it goes on, and this page finds it again."
)
has_data = training.data_section()
run = training.shown_run()
if run:
    training.run_panel(run)
    with st.expander("Start another run", icon=":material/add:", expanded=not run.is_live):
        training.run_form(has_data)
else:
    with st.container(border=True):
        st.subheader("New run", anchor=False)
        training.run_form(has_data)
training.past_runs()
training.watch()
