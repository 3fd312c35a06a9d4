"""The networks: raw 0–255 pixels in, probabilities of the ten classes out. Keras is imported when one is built."""

from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import ModelError, SettingsError

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
MIRROR_SUFFIX = "-mirror-average"


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
        from cifar_model.fast_layers import FastConv2D, FusedBatchNormalization

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
    x = layers.Conv2D(
        WHITENING_FILTERS, 2, padding="same", use_bias=False, trainable=False, name="whitening"
    )(x)
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


def mirror_average(network: "keras.Model") -> "keras.Model":
    """A network that answers the mean of `network` on each picture and on its mirror image (one input, one output)."""
    from keras import Input, Model, layers

    pixels = Input(network.input_shape[1:], name="pixels")
    mirrored = _mirror(pixels)
    answer = layers.Average(name="probabilities")([network(pixels), network(mirrored)])
    return Model(pixels, answer, name=network.name + MIRROR_SUFFIX)


def _mirror(pixels):
    """The mirror image, by a product with the reversed identity: exact, and a layer that every Keras 3 can read."""
    from keras import layers

    width = pixels.shape[2]
    layer = layers.EinsumDense(
        "bhwc,wv->bhvc", output_shape=(None, width, 3), trainable=False, dtype="float32", name="mirror"
    )
    mirrored = layer(pixels)
    layer.set_weights([np.eye(width, dtype=np.float32)[::-1]])
    return mirrored


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
    views = [both(pixels), both(_mirror(pixels))]
    return Model(pixels, [layers.Average()(list(pair)) for pair in zip(*views, strict=True)], name=network.name)


def layer_table(
    name: str, *, filters: tuple[int, ...] = SEED_FILTERS, dropout: float = 0.2, dense: int = 64
) -> list[dict]:
    """Every layer that holds parameters, without building it: name, kind, output (height, width, channels), parameters.

    Raises SettingsError on an unknown name.
    """
    rows: list[dict] = []

    def add(layer, kind, output, parameters):
        rows.append({"layer": layer, "kind": kind, "output": output, "parameters": parameters})

    add("scale", "Normalization", (32, 32, 3), 0)
    if name == "lab-net":
        add("whitening", "Conv2D 2×2", (32, 32, WHITENING_FILTERS), 12 * WHITENING_FILTERS)
        side, channels = IMAGE_SIZE, WHITENING_FILTERS
        for stage, width in enumerate(LAB_WIDTHS, start=1):
            side //= 2
            for number in (1, 2, 3):
                prefix = f"stage{stage}_conv{number}"
                add(prefix, "Conv2D 3×3", (side * (2 if number == 1 else 1),) * 2 + (width,), 9 * channels * width)
                add(f"{prefix}_norm", "BatchNormalization", (side, side, width), 3 * width)
                channels = width
        add("logits", "Dense", (10,), channels * 10)
        return rows
    if name not in ("seed-cnn", "custom"):
        raise SettingsError(f"Unknown network {name!r}. Choose one of: seed-cnn, lab-net, custom.")
    origin = name == "seed-cnn"
    widths, units = (SEED_FILTERS, 64) if origin else (filters, dense)
    side, channels = IMAGE_SIZE, 3
    for number, width in enumerate(widths, start=1):
        side -= 2 if origin else 0
        add(f"conv{number}", "Conv2D 3×3", (side, side, width), (9 * channels + 1) * width)
        add(f"norm{number}", "BatchNormalization", (side, side, width), 4 * width)
        side //= 1 if origin and number == len(widths) else 2
        channels = width
    add("dense", "Dense", (units,), (side * side * channels + 1) * units)
    add("probabilities", "Dense", (10,), (units + 1) * 10)
    return rows


def count_parameters(name: str, **shape) -> int:
    """Number of weights of a network, batch statistics included, without building it (arguments as `layer_table`)."""
    return sum(row["parameters"] for row in layer_table(name, **shape))


def multiply_adds(name: str, **shape) -> int:
    """Multiplications (each with its addition) of one forward pass over one picture, convolutions and dense layers."""
    total, before = 0, 3
    for row in layer_table(name, **shape):
        if row["kind"].startswith("Conv2D"):
            height, width, channels = row["output"]
            window = 4 if "2×2" in row["kind"] else 9
            total += height * width * window * before * channels
            before = channels
        elif row["kind"] == "Dense":
            total += row["parameters"]
    return total
