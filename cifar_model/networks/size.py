"""A network's layers, parameters and operations, counted without building it."""

import math

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import SettingsError
from cifar_model.networks.build import LAB_WIDTHS, SEED_FILTERS, WHITENING_FILTERS

_TENSORFLOW_BYTES = 850_000_000
_BYTES_A_VALUE = 14  # of a layer's output: itself, its gradient, and copies of it at work


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


def training_bytes(name: str, batch_size: int, **shape) -> int:
    """Bytes of memory that a training takes at its peak, about: TensorFlow with its libraries, the weights with their
    gradients and an optimizer's two averages, and what every layer gives, kept for the way back.

    The factors were measured (Keras 3.15, TensorFlow 2.21, Linux, float32; batch: MB): seed-cnn, 128: 865, 1,024:
    1,551; lab-net, 64: 988, 256: 1,324; custom with filters 64, 512: 1,730, with 128 and 128, 128: 1,299, with four
    times 256, 64: 1,292. They err on the side of too much.
    """
    table = layer_table(name, **shape)
    values = sum(math.prod(row["output"]) for row in table)
    parameters = sum(row["parameters"] for row in table)
    return _TENSORFLOW_BYTES + 16 * parameters + _BYTES_A_VALUE * batch_size * values
