"""Live: the network follows the camera, in the visitor's own browser."""

from cifar_model.app.live.show import show_live
from cifar_model.app.shared.options import choose_model, read_model_link, write_link
from cifar_model.app.shared.page import guarded, header

with guarded():
    read_model_link()
    model = choose_model(header("Live", "What does a network see in front of your camera?"))
    if model:
        write_link(model=model.name)
    show_live(model)
