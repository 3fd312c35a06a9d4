"""A network made ready to leave: calibrated by layers of its own, and of layers that other programs understand."""

from typing import TYPE_CHECKING

import numpy as np

from cifar_model.networks.views import MIRROR_SUFFIX, mirror_average, single_view

if TYPE_CHECKING:
    import keras


def rebuilt(network: "keras.Model") -> "keras.Model":
    """The same network, its mirror average of today's layers: older files have one that older Keras can't read."""
    inner = single_view(network)
    return network if inner is network else mirror_average(inner)


def without_normalization(network: "keras.Model") -> "keras.Model":
    """A copy with Rescaling in the place of Normalization, whose arrays the exporter to ONNX mistakes for inputs."""
    import keras

    def plain(layer):
        if isinstance(layer, keras.layers.Normalization):
            scale = 1 / np.sqrt(np.asarray(layer.input_variance)).ravel()
            offset = -np.asarray(layer.input_mean).ravel() * scale
            return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name=layer.name)
        return type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(network, clone_function=plain, recursive=True)
    # Normalization of other networks may hold what it adapted to as weights, which have no place in Rescaling.
    _copy_weights(network, copy)
    return copy


def _copy_weights(source: "keras.Model", target: "keras.Model") -> None:
    import keras

    for old in source.layers:
        new = target.get_layer(old.name)
        if isinstance(old, keras.Model):
            _copy_weights(old, new)
        elif not isinstance(old, keras.layers.Normalization):
            new.set_weights(old.get_weights())


def calibrated(network: "keras.Model", temperature: float, even_share: float = 0.0) -> "keras.Model":
    """The network with its softmax made honest inside, as `trust.calibration.rescale` does it afterwards."""
    from keras import Model, layers, ops

    answer = network.output
    if even_share:
        answer = answer - even_share * ops.min(answer, axis=-1, keepdims=True)
    logits = ops.log(ops.maximum(answer, 1e-30)) / temperature
    found = layers.Softmax(dtype="float32", name="calibrated_probabilities")(logits)
    return Model(network.inputs[0], found, name=f"{network.name.removesuffix(MIRROR_SUFFIX)}-calibrated")
