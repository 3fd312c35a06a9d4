"""What goes on inside a network: the patterns that its first layer looks for, and where each layer finds its own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ModelError, SettingsError
from cifar_model.networks.views import single_view

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Maps:
    """One layer's activations: `layer` its name, `values` float32 (height, width, channels)."""

    layer: str
    values: np.ndarray


def first_filters(network: "keras.Model") -> tuple[str, np.ndarray]:
    """The first convolution's name and its filters, float32 (filters, height, width, 3) over red, green and blue.

    Raises ModelError where the network has no convolution over the picture's three colours.
    """
    from keras import layers

    for layer in single_view(network).layers:
        if isinstance(layer, layers.Conv2D) and layer.kernel.shape[2] == 3:
            kernel = layer.get_weights()[0]
            return layer.name, np.ascontiguousarray(kernel.transpose(3, 0, 1, 2), np.float32)
    raise ModelError(f"The network {network.name!r} has no convolution over red, green and blue.")


def filter_pictures(filters: np.ndarray) -> np.ndarray:
    """Filters float (n, h, w, 3) as uint8 pictures of the same shape: grey is 0, each scaled to its own largest weight.

    A filter answers most to a patch that looks like its picture.
    """
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    return np.rint(127.5 + 127.5 * filters / np.maximum(largest, 1e-12)).clip(0, 255).astype(np.uint8)


def feature_maps(network: "keras.Model", pixels: np.ndarray) -> list[Maps]:
    """Where each layer finds what it looks for in a picture: the maps after each non-linearity, first layer first.

    Of a network that averages mirror images those of the picture as it is.

    Parameters
    ----------
    pixels : uint8 (32, 32, 3)

    Raises
    ------
    SettingsError
        Pixels of another type or shape.
    ModelError
        The network has no layer with maps.
    """
    from keras import Model, layers

    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.shape != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise SettingsError(f"A picture is uint8 (32, 32, 3). Received: {pixels.dtype} {pixels.shape}.")
    inner = single_view(network)
    convolutions = [layer for layer in inner.layers if isinstance(layer, layers.Conv2D)]
    shown = [
        layer
        for layer in inner.layers
        if len(layer.output.shape) == 4
        and (
            isinstance(layer, layers.ReLU | layers.Activation)
            or (isinstance(layer, layers.Conv2D) and layer.activation.__name__ != "linear")
        )
    ] or convolutions
    if not shown:
        raise ModelError(f"The network {network.name!r} has no layer with maps.")
    outputs = Model(inner.inputs, [layer.output for layer in shown]).predict_on_batch(pixels[None])
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [Maps(layer.name, np.asarray(out, np.float32)[0]) for layer, out in zip(shown, outputs, strict=True)]


# Anchors of the colour map "viridis" (van der Walt & Smith 2015): from dark for nothing to yellow for much.
_VIRIDIS = np.array(
    [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99],
     [170, 220, 50], [253, 231, 37]]
)  # fmt: skip


def map_pictures(maps: Maps, most: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """The channels of a layer that answer most strongly, as pictures.

    Returns
    -------
    pictures : uint8 (k, height, width, 3), k ≤ most, strongest first; dark = no answer, yellow = the layer's strongest
    channels : int (k,), their numbers in the layer
    """
    values = np.maximum(maps.values, 0)
    channels = np.argsort(-values.max(axis=(0, 1)), kind="stable")[:most]
    share = values[..., channels].transpose(2, 0, 1) / max(float(values.max()), 1e-12)
    at = np.linspace(0, 1, len(_VIRIDIS))
    pictures = np.stack([np.interp(share, at, _VIRIDIS[:, colour]) for colour in range(3)], axis=-1)
    return np.rint(pictures).astype(np.uint8), channels
