"""Train: choose settings, watch a network learn, keep and compare what was learned."""

import streamlit as st

from cifar_model.app.shared.owner import remember_visitor
from cifar_model.app.shared.page import guarded, header
from cifar_model.app.shared.parts import shows
from cifar_model.app.train.data import data_section, find_choices
from cifar_model.app.train.dialogs import open_dialog
from cifar_model.app.train.distilled import mini_section
from cifar_model.app.train.form import run_form
from cifar_model.app.train.panel import run_panel
from cifar_model.app.train.past import past_runs
from cifar_model.app.train.shown import shown_run, watch
from cifar_model.app.train.sweeps import sweeps_section
from cifar_model.app.train.teacher import teacher_box
from cifar_model.data.sources import MINI

place = header("Train", "Watch a network learn. Training continues when you close the browser.")
with guarded():
    with place:
        teacher_box()
    choices = find_choices()
    run = shown_run()
    if run and shows("run"):
        run_panel(run)
    if run and shows("new"):
        data_section(choices)
        with st.expander("Start another run", icon=":material/add:"):
            run_form(choices)
    elif shows("new"):
        if not choices.can_start:
            data_section(choices)
        with st.container(border=True):
            st.subheader("New run", anchor=False)
            run_form(choices)
        if choices.can_start:  # what could be fetched besides comes after what can be done now
            data_section(choices)
    if MINI in choices.shown and shows("distilled"):
        mini_section()
    if shows("sweeps"):
        sweeps_section()
    if shows("runs"):
        past_runs()
    if not (run and run.is_live and shows("run")):  # its panel looks more often
        watch()
    open_dialog()
    remember_visitor()
