"""How somebody's network wants its pixels, what its ten numbers are, and in which order: found on labelled pictures."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.data.distilled import read_mini
from cifar_model.data.find import find_source
from cifar_model.data.sources import MINI
from cifar_model.errors import DatasetError, ModelError, SettingsError
from cifar_model.networks.build import PIXEL_MEAN, PIXEL_VARIANCE
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir

if TYPE_CHECKING:
    import keras

PICTURES = 1_000
_BATCH = 250
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Range: how a person would say it.
PIXELS = {
    "0-255": "raw pixels, 0 to 255",
    "0-1": "pixels divided by 255, 0 to 1",
    "-1-1": "pixels from -1 to 1",
    "standardized": "pixels minus CIFAR-10's mean, divided by its standard deviation",
    "imagenet": "pixels minus ImageNet's mean, divided by its standard deviation",
    "per-image": "pixels minus the image's own mean, divided by its own standard deviation",
}
PROBABILITIES, LOGITS, YES_OR_NO = "probabilities", "logits", "yes or no"
OUTPUTS = {
    PROBABILITIES: "It returns probabilities (softmax).",
    LOGITS: "It returns logits, not probabilities: a softmax was added.",
    YES_OR_NO: "It returns a yes or no for each class (sigmoid): turned into probabilities of the ten classes.",
}


@dataclass(frozen=True)
class Fit:
    """What was found, or given: all that has to be put around a network.

    pixels : a key of PIXELS; order : its output i stands for class order[i]; output : a key of OUTPUTS
    accuracy : share of the labelled pictures that are right this way; None where none were asked
    notes : what was found, in words
    """

    pixels: str
    order: tuple[int, ...]
    output: str
    accuracy: float | None
    notes: tuple[str, ...]


def scaling(pixels: str) -> tuple[list[float], list[float]] | None:
    """Scale and offset of each channel, for raw pixels 0 to 255; None for "per-image"."""
    mean, deviation = {
        "0-255": ((0, 0, 0), (1, 1, 1)),
        "0-1": ((0, 0, 0), (255, 255, 255)),
        "-1-1": ((127.5,) * 3, (127.5,) * 3),
        "standardized": (PIXEL_MEAN, np.sqrt(PIXEL_VARIANCE)),
        "imagenet": (255 * np.array(_IMAGENET_MEAN), 255 * np.array(_IMAGENET_DEVIATION)),
        "per-image": (None, None),
    }[pixels]
    if mean is None:
        return None
    scale = 1 / np.asarray(deviation, float)
    return scale.tolist(), (-np.asarray(mean, float) * scale).tolist()


def scaled(images: np.ndarray, pixels: str) -> np.ndarray:
    """Raw pixels (n, 32, 32, 3), 0 to 255, in a range of PIXELS: float32."""
    images = images.astype(np.float32)
    if (found := scaling(pixels)) is not None:
        return (images * np.asarray(found[0], np.float32) + np.asarray(found[1], np.float32)).astype(np.float32)
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
    return centred / np.maximum(centred.std(axis=(1, 2, 3), keepdims=True), 1e-3)


def labelled_pictures(data: str | None = None) -> tuple[np.ndarray, np.ndarray, str]:
    """Pictures uint8 (n, 32, 32, 3) with labels int64 (n,), and what they are, with their number.

    Test images of CIFAR-10 evenly among all; without them the distilled images and the sample photographs.
    """
    try:
        if find_source(data).kind != MINI:
            _, (images, labels) = load_cifar10(data)
            rows = np.linspace(0, len(images) - 1, min(PICTURES, len(images))).astype(int)
            return np.asarray(images[rows]), np.asarray(labels[rows]), f"{len(rows):,} test images of CIFAR-10"
    except DatasetError:
        if data:
            raise
    samples = [assets_dir() / "samples" / f"{name}.webp" for name in CLASS_NAMES]
    parts = [(np.stack([load_image(file) for file in samples]), np.arange(len(CLASS_NAMES)))]
    said = f"{len(samples)} sample photographs"
    try:
        parts += read_mini()
        said += f" and {sum(len(labels) for _, labels in parts[1:]):,} distilled images"
    except DatasetError:  # a checkout without them
        pass
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return images, labels, said


def check_classes(text: str | None) -> tuple[int, ...] | None:
    """Ten names with commas between as the numbers of the classes, in that order; SettingsError if not all ten."""
    if text is None:
        return None
    names = [name.strip().lower() for name in text.split(",")]
    names = [{"plane": "airplane", "car": "automobile"}.get(name, name) for name in names]
    if sorted(names) != sorted(CLASS_NAMES):
        raise SettingsError(
            f"--classes names all ten, each once, in the order of the network's outputs: {','.join(CLASS_NAMES)} in "
            f"another order. Received: {text[:200]}."
        )
    return tuple(CLASS_NAMES.index(name) for name in names)


def find_fit(
    network: "keras.Model", *, pixels: str | None = None, order: tuple[int, ...] | None = None, data: str | None = None
) -> Fit:
    """Find on labelled pictures how a network wants its pixels and in which order its classes are.

    Of all ranges of pixels the one that makes it right most often is taken, of those that do so equally well the one
    with the lowest cross-entropy. Another order of classes is believed only where it is plain: each class mostly gets
    one answer, each another.

    Parameters
    ----------
    network : float32 (n, 32, 32, 3) → ten numbers (n, 10)
    pixels, order : given, and so not looked for
    data : CIFAR-10's folder or archive; None: wherever it is found, else what ships with the project

    Raises
    ------
    ModelError
        Nothing makes it right: the message says what to give. Or its answers are not finite.
    """
    images, labels, said = labelled_pictures(data)
    tried = {}
    for name in [pixels] if pixels else list(PIXELS):
        outputs = _outputs(network, scaled(images, name))
        if not np.isfinite(outputs).all():
            if pixels:
                raise ModelError("The network's answers are not finite numbers: its training diverged.")
            continue
        tried[name] = _try(outputs, labels, order)
    if not tried:
        raise ModelError("The network's answers are not finite numbers: its training diverged.")
    best = max(tried.values(), key=lambda found: found.accuracy)
    noise = 2 * np.sqrt(max(best.accuracy * (1 - best.accuracy), 0.01) / len(labels))
    close = {name: found for name, found in tried.items() if found.accuracy >= best.accuracy - noise / 2}
    name = min(close, key=lambda one: close[one].loss)
    found = tried[name]
    share = f"{100 * found.accuracy:.1f} % of {said} classified correctly"
    if not (pixels and order) and (found.accuracy < 0.2 or found.unclear):
        what = (
            "Its classes seem to be in another order, and it is not clear which"
            if found.unclear
            else "The range of its pixels and the order of its classes can't be found out"
        )
        raise ModelError(
            f"{what}: of all that was tried, the best classifies {100 * max(found.accuracy, best.accuracy):.0f} % of "
            f"{said} correctly, and guessing gets 10 %. Give them yourself: --pixels ({', '.join(PIXELS)}) and "
            f"--classes ({','.join(CLASS_NAMES)}, in the order of its outputs)."
        )
    notes = [f"Pixels: {PIXELS[name]}" + (" (as given)." if pixels else f": {share}.")]
    others = sorted(((other.accuracy, one) for one, other in tried.items() if one != name), reverse=True)
    if others:
        told = ", ".join(f"{one} {100 * accuracy:.1f} %" for accuracy, one in others)
        notes.append(f"Other ranges: {told}.")
        if others[0][1] in close:
            notes.append(f"{others[0][1]} does about as well: if you know it to be the right one, give --pixels.")
    elif pixels:
        notes.append(f"{share[0].upper()}{share[1:]}.")
    notes.append(OUTPUTS[found.output])
    if found.order != tuple(range(len(CLASS_NAMES))):
        names = ",".join(CLASS_NAMES[i] for i in found.order)
        notes.append(f"Its classes are in another order ({'as given' if order else 'found'}): {names}.")
    return Fit(name, found.order, found.output, found.accuracy, tuple(notes))


@dataclass(frozen=True)
class _Tried:
    accuracy: float
    loss: float
    order: tuple[int, ...]
    output: str
    unclear: bool


def _outputs(network: "keras.Model", images: np.ndarray) -> np.ndarray:
    parts = [network.predict_on_batch(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
    return np.concatenate(parts).astype(np.float64)


def _try(outputs: np.ndarray, labels: np.ndarray, given: tuple[int, ...] | None) -> _Tried:
    answers = outputs.argmax(axis=1)
    counts = np.zeros((len(CLASS_NAMES),) * 2, np.int64)  # rows: outputs, columns: true classes
    np.add.at(counts, (answers, labels), 1)
    usual = tuple(range(len(CLASS_NAMES)))
    order, unclear = given or usual, False
    if given is None:
        other = best_order(counts)
        gain = (counts[usual, other].sum() - np.trace(counts)) / len(labels)
        if gain > max(0.03, 3 * np.sqrt(0.25 / len(labels))):
            # Plain: each class is mostly answered by one output, and each output mostly stands for that class.
            plain = all(counts[i, other[i]] >= counts[i].max() for i in usual)
            plain &= all(counts[i, other[i]] >= counts[:, other[i]].max() for i in usual)
            if plain and counts[usual, other].sum() / len(labels) >= 0.35:
                order = other
            else:
                unclear = True
    kind = kind_of_output(outputs)
    p = probabilities(outputs, kind)
    right = p[np.arange(len(labels)), np.argsort(order)[labels]]
    accuracy = counts[usual, order].sum() / len(labels)
    return _Tried(
        float(accuracy), float(-np.log(np.maximum(right, 1e-12)).mean()), tuple(map(int, order)), kind, unclear
    )


def best_order(counts: np.ndarray) -> tuple[int, ...]:
    """The class of each output with the most right answers: counts int (10, 10), rows outputs, columns classes.

    Exact, over all sets of classes (Held & Karp 1962): best[S] = the most that the first |S| outputs get right when
    they stand for the classes S.
    """
    n = len(counts)

    @cache
    def best(row: int, used: int) -> tuple[int, tuple[int, ...]]:
        if row == n:
            return 0, ()
        options = []
        for column in range(n):
            if not used >> column & 1:
                more, rest = best(row + 1, used | 1 << column)
                # Of orders that are equally good, the one that leaves most classes where they are.
                options.append((counts[row, column] * 2 * n + more + (row == column), (column, *rest)))
        return max(options, key=lambda option: option[0])

    return best(0, 0)[1]


def kind_of_output(outputs: np.ndarray) -> str:
    """What ten numbers are, float (n, 10): probabilities, logits (ln p too), or ten answers yes or no."""
    inside = outputs.min() >= -1e-3 and outputs.max() <= 1 + 1e-3
    if inside and np.abs(outputs.sum(axis=1) - 1).max() < 0.02:
        return PROBABILITIES
    return YES_OR_NO if inside else LOGITS


def probabilities(outputs: np.ndarray, kind: str) -> np.ndarray:
    """Ten numbers as probabilities, float64 (n, 10)."""
    if kind == PROBABILITIES:
        return outputs
    if kind == YES_OR_NO:  # p(i) ∝ p_i / (1 - p_i): exactly one of ten independent answers is a yes
        p = np.clip(outputs, 1e-7, 1 - 1e-7)
        outputs = np.log(p / (1 - p))
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
