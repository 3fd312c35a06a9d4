"""Classify: drop in pictures, see what the network sees and what it believes."""

from cifar_model.app.classify.choose import choose_pictures
from cifar_model.app.classify.show import show_answers
from cifar_model.app.shared import resources
from cifar_model.app.shared.page import choose_models, guarded, header

resources.answering()  # starts with the first page, long before it is asked
with guarded():
    with header("Classify", "What does a network believe about your picture?"):
        models = choose_models()
    show_answers(choose_pictures(), models)
resources.settle("classify")
