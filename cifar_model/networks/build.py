"""The networks: raw 0–255 pixels in, probabilities of the ten classes out. Keras is imported when one is built."""

from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import SettingsError

if TYPE_CHECKING:
    import keras


# Mean and variance of CIFAR-10's training pixels, per channel, in grey levels (0 to 255).
PIXEL_MEAN = (125.3, 123.0, 113.9)
PIXEL_VARIANCE = (63.0**2, 62.1**2, 66.7**2)

SEED_FILTERS = (32, 64, 64)
LAB_WIDTHS = (64, 192, 384)

# 2×2 patches of 3 channels span 12 dimensions; each gets a filter and its negative.
WHITENING_FILTERS = 24

# Keeps the whitening from amplifying directions that hold only noise (Jordan 2024, section 3.1).
WHITENING_EPSILON = 5e-4


def build_network(
    name: str,
    *,
    filters: tuple[int, ...] = SEED_FILTERS,
    dropout: float = 0.2,
    dense: int = 64,
    any_size: bool = False,
    fast: bool = False,
) -> "keras.Model":
    """Build an untrained network under Keras's current dtype policy.

    Parameters
    ----------
    name : ``seed-cnn``, ``lab-net`` or ``custom``
    filters, dropout, dense
        Shape of ``custom``: filters of each block, dropout rate, units of the dense layer.
    any_size : bool
        Leave height and width open, for progressive resizing (lab-net alone).
    fast : bool
        Layers of the same weights and answers that train faster under TensorFlow (`fast_layers`); not for saving.

    Returns
    -------
    keras.Model
        Takes pixels 0–255 of shape (n, 32, 32, 3), uint8 or float; answers float32 (n, 10), rows sum to 1.

    Raises
    ------
    SettingsError
        On an unknown name, or on `filters` too deep for 32×32 pixels.
    """
    kinds = _layer_kinds(fast)
    if name == "seed-cnn":
        return _seed_cnn(kinds)
    if name == "lab-net":
        return _lab_net(any_size, kinds)
    if name == "custom":
        return _custom(filters, dropout, dense, kinds)
    raise SettingsError(f"Unknown network {name!r}. Choose one of: seed-cnn, lab-net, custom.")


def _layer_kinds(fast: bool) -> tuple[type, type]:
    """Classes of the convolutions and of batch normalization."""
    import keras

    if fast and keras.backend.backend() == "tensorflow":
        from cifar_model.networks.fast_layers import FastConv2D, FusedBatchNormalization

        return FastConv2D, FusedBatchNormalization
    return keras.layers.Conv2D, keras.layers.BatchNormalization


def _ends(size: int | None = IMAGE_SIZE):
    import keras

    pixels = keras.Input((size, size, 3), name="pixels")
    scaled = keras.layers.Normalization(mean=PIXEL_MEAN, variance=PIXEL_VARIANCE, name="scale")(pixels)
    return pixels, scaled


def _seed_cnn(kinds) -> "keras.Model":
    from keras import Model, layers

    convolution, normalization = kinds

    pixels, x = _ends()
    for number, filters in enumerate(SEED_FILTERS, start=1):
        x = convolution(filters, 3, activation="relu", name=f"conv{number}")(x)
        x = normalization(name=f"norm{number}")(x)
        if number < len(SEED_FILTERS):
            x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
            x = layers.Dropout(0.2, name=f"dropout{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="dense")(x)
    x = layers.Dropout(0.2, name="dropout3")(x)
    return Model(pixels, _softmax_head(x), name="seed-cnn")


def _custom(filters: tuple[int, ...], dropout: float, dense: int, kinds) -> "keras.Model":
    from keras import Model, layers

    convolution, normalization = kinds

    pixels, x = _ends()
    for number, width in enumerate(filters, start=1):
        x = convolution(width, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = normalization(name=f"norm{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
        x = layers.Dropout(dropout, name=f"dropout{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", name="dense")(x)
    x = layers.Dropout(dropout, name="dropout_dense")(x)
    return Model(pixels, _softmax_head(x), name="custom")


def _softmax_head(x):
    from keras import layers

    # float32 under every policy: in bfloat16 a probability has three digits.
    return layers.Dense(len(CLASS_NAMES), activation="softmax", dtype="float32", name="probabilities")(x)


def _lab_net(any_size: bool, kinds) -> "keras.Model":
    """Whitening, then three residual stages; after Jordan 2024 (arXiv:2404.00498) and ResNet (He et al. 2016)."""
    from keras import Model, constraints, layers

    conv2d, normalization = kinds
    pixels, x = _ends(None if any_size else IMAGE_SIZE)
    x = layers.Conv2D(WHITENING_FILTERS, 2, padding="same", use_bias=False, trainable=False, name="whitening")(x)
    x = layers.ReLU(name="whitening_relu")(x)

    def convolution(x, width, name, pool=False):
        # BatchNorm follows, so only a kernel's direction counts: unit norm makes the step size an angle.
        unit = constraints.UnitNorm(axis=[0, 1, 2])
        x = conv2d(
            width,
            3,
            padding="same",
            use_bias=False,
            kernel_constraint=unit,
            kernel_initializer="glorot_normal",
            name=name,
        )(x)
        if pool:
            x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
        x = normalization(scale=False, momentum=0.9, name=f"{name}_norm")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    for stage, width in enumerate(LAB_WIDTHS, start=1):
        shortcut = x = convolution(x, width, f"stage{stage}_conv1", pool=True)
        x = convolution(x, width, f"stage{stage}_conv2")
        x = convolution(x, width, f"stage{stage}_conv3")
        x = layers.Add(name=f"stage{stage}_add")([x, shortcut])
    x = layers.GlobalMaxPooling2D(name="features")(x)
    x = layers.Dense(len(CLASS_NAMES), use_bias=False, dtype="float32", name="logits")(x)
    # A quarter of the logits at the start: label smoothing wants soft answers (Jordan 2024 scales them by 1/9).
    x = layers.Rescaling(0.25, dtype="float32", name="logit_scale")(x)
    return Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(x), name="lab-net")


def set_whitening(network: "keras.Model", images: np.ndarray) -> None:
    """Give lab-net's first layer the patch-whitening kernel of `images` (Jordan 2024, section 3.1).

    Networks without such a layer are left alone.

    Parameters
    ----------
    images : uint8 (n, 32, 32, 3); a few thousand suffice
    """
    layer = next((layer for layer in network.layers if layer.name == "whitening"), None)
    if layer is None:
        return
    scaled = (images.astype(np.float32) - PIXEL_MEAN) / np.sqrt(PIXEL_VARIANCE)
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (2, 2), axis=(1, 2))  # (n, 31, 31, 3, 2, 2)
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    kernel = (vectors / np.sqrt(values + WHITENING_EPSILON)).reshape(2, 2, 3, 12)
    layer.set_weights([np.concatenate([kernel, -kernel], axis=-1).astype(np.float32)])
