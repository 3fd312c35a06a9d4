"""Live: the network follows the camera, in the visitor's own browser."""

from cifar_model.app.live.show import show_live
from cifar_model.app.shared import resources
from cifar_model.app.shared.options import choose_model
from cifar_model.app.shared.page import guarded, header

with guarded():
    show_live(choose_model(header("Live", "What does a network see in front of your camera?")))
resources.settle("live")
