"""Classify: drop in pictures, see what the network sees and what it believes."""

from cifar_model.ui import components, resources
from cifar_model.ui.components_classify import choose_pictures, show_answers

resources.answering()  # starts with the first page, long before it is asked
with components.guarded():
    with components.header("Classify", "What does a network believe about your picture?"):
        models = components.choose_models()
    show_answers(choose_pictures(), models)
resources.settle("classify")
