"""Classify: drop in pictures, see what the network sees and what it believes."""

import streamlit as st

from cifar_model.app.classify.answers import Visit
from cifar_model.app.classify.choose import choose_pictures
from cifar_model.app.classify.link import write_classify_link
from cifar_model.app.classify.show import show_answers
from cifar_model.app.shared import resources
from cifar_model.app.shared.options import choose_models
from cifar_model.app.shared.page import guarded, header

resources.warm_up()
with guarded():
    models, reading = choose_models(header("Classify", "What does a network believe about your picture?"))
    answers: Visit = st.session_state.setdefault("answers", Visit())
    chosen, own = choose_pictures(answers, models)
    write_classify_link(chosen, models, reading)
    show_answers(chosen, own, models, answers, reading)
