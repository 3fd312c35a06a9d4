"""Models: how often a network is right, where it errs, how far to trust it, and what goes on inside."""

from cifar_model.app.models.link import read_link
from cifar_model.app.models.show import show_models
from cifar_model.app.shared import resources
from cifar_model.app.shared.options import choose_models
from cifar_model.app.shared.page import guarded, header

resources.warm_up()
with guarded():
    place = header("Models", "How accurate is a network, where does it err, and how far can you trust it?")
    models, _ = choose_models(place)
    read_link()
    show_models(models)
