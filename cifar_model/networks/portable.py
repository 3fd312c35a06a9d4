"""A network made ready to leave: calibrated by layers of its own, and of layers that other programs understand."""

from typing import TYPE_CHECKING

import numpy as np

from cifar_model.errors import ModelError
from cifar_model.networks.views import MIRROR_SUFFIX, mirror_average, mirrored, single_view

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


def calibrated(network: "keras.Model", temperature: float, power: float = 0.0) -> "keras.Model":
    """The network with its softmax made honest, as `trust.calibration.scale_temperature` does it afterwards.

    By Keras's own layers alone, so that every format can hold it: softmax(((p^power - 1) / power) / temperature), or
    softmax(ln p / temperature) for a power of 0.

    Raises ModelError where a network doesn't end in a softmax (or in the mean of two).
    """
    from keras import Model, layers

    single = single_view(network)
    log_network = _log_network(single)
    pixels = network.inputs[0]
    if single is network:
        logs = log_network.output
        pixels = log_network.inputs[0]
    else:
        # The mean of two: ln((a + b) / 2) = ln a + softplus(ln b - ln a) - ln 2.
        first, second = log_network(pixels), log_network(mirrored(pixels))
        more = layers.Activation("softplus", dtype="float32")(layers.Subtract(dtype="float32")([second, first]))
        logs = layers.Rescaling(1.0, -float(np.log(2)), dtype="float32")(layers.Add(dtype="float32")([first, more]))
    if power:
        raised = layers.Activation("exponential", dtype="float32")(layers.Rescaling(power, dtype="float32")(logs))
        scale = 1 / (power * temperature)
        logits = layers.Rescaling(scale, -scale, dtype="float32")(raised)
    else:
        logits = layers.Rescaling(1 / temperature, dtype="float32")(logs)
    answer = layers.Softmax(dtype="float32", name="calibrated_probabilities")(logits)
    name = network.name.removesuffix(MIRROR_SUFFIX)
    return Model(pixels, answer, name=f"{name}-calibrated")


def _log_network(network: "keras.Model") -> "keras.Model":
    """The network with ln p in the place of its softmax p."""
    from keras import Model, activations, layers

    log_softmax = layers.Activation("log_softmax", dtype="float32", name="log_probabilities")
    order = None
    last = network.layers[-1]
    if isinstance(last, layers.EinsumDense) and len(last.input.shape) == 2 and last.bias is None:
        order, last = last, last.input._keras_history.operation  # classes put into another order
    if isinstance(last, layers.Softmax):
        logs = log_softmax(last.input)
    elif isinstance(last, layers.Activation | layers.Dense) and last.activation is activations.softmax:
        if isinstance(last, layers.Dense):
            linear = layers.Dense.from_config(last.get_config() | {"activation": "linear"})
            logs = log_softmax(linear(last.input))
            linear.set_weights(last.get_weights())
        else:
            logs = log_softmax(last.input)
    else:
        raise ModelError(
            f"The network {network.name!r} doesn't end in a softmax, so its calibration can't become a part of it."
        )
    if order is not None:
        again = layers.EinsumDense.from_config(order.get_config())
        logs = again(logs)
        again.set_weights(order.get_weights())
    return Model(network.inputs, logs, name=network.name)
