"""Other views of one network: averaged over the mirror image, alone, with its features."""

from typing import TYPE_CHECKING

import numpy as np

from cifar_model.errors import ModelError

if TYPE_CHECKING:
    import keras

MIRROR_SUFFIX = "-mirror-average"


def mirror_average(network: "keras.Model") -> "keras.Model":
    """A network that answers the mean of `network` on each picture and on its mirror image (one input, one output)."""
    from keras import Input, Model, layers

    pixels = Input(network.input_shape[1:], name="pixels")
    answer = layers.Average(name="probabilities")([network(pixels), network(mirrored(pixels))])
    return Model(pixels, answer, name=network.name + MIRROR_SUFFIX)


def mirrored(pixels):
    """The mirror image, by a product with the reversed identity: exact, and a layer that every Keras 3 can read."""
    from keras import layers

    width = pixels.shape[2]
    layer = layers.EinsumDense(
        "bhwc,wv->bhvc", output_shape=(None, width, 3), trainable=False, dtype="float32", name="mirror"
    )
    flipped = layer(pixels)
    layer.set_weights([np.eye(width, dtype=np.float32)[::-1]])
    return flipped


def single_view(network: "keras.Model") -> "keras.Model":
    """The network inside `mirror_average`, or `network` itself where there is none."""
    if not network.name.endswith(MIRROR_SUFFIX):
        return network
    return network.get_layer(network.name.removesuffix(MIRROR_SUFFIX))


def with_features(network: "keras.Model") -> "keras.Model":
    """A network that also tells what its last decision rests on: answers [probabilities, features].

    Features are the input of the last dense layer: float32 (n, d), of lab-net d = 256, of seed-cnn and custom the
    units of their dense layer. Of `mirror_average` they are the mean of both views. Weights are shared, not copied.

    Raises
    ------
    ModelError
        The network has no dense layer, or one that takes no flat features.
    """
    from keras import Input, Model, layers, ops

    inner = single_view(network)
    dense = [layer for layer in inner.layers if isinstance(layer, layers.Dense)]
    if not dense or len(dense[-1].input.shape) != 2:
        raise ModelError(f"The network {network.name!r} has no dense layer at its end, so it has no features.")
    both = Model(inner.inputs, [inner.output, ops.cast(dense[-1].input, "float32")], name=inner.name)
    if inner is network:
        return both
    pixels = Input(network.input_shape[1:], name="pixels")
    views = [both(pixels), both(mirrored(pixels))]
    return Model(pixels, [layers.Average()(list(pair)) for pair in zip(*views, strict=True)], name=network.name)
