"""Where the evidence lies, and which training images are nearest."""

from collections import OrderedDict
from pathlib import Path

import numpy as np

from cifar_model.answering.neighbours import Neighbours
from cifar_model.app.workers.beliefs import loaded_classifier
from cifar_model.charts.heat import overlay
from cifar_model.pictures.encode import encode_png

KEPT_BANKS = 3  # of training images' features, 25 MB each for lab-net
PORTION = 32  # training images a request: nobody waits longer than for these


def explain(model: Path, pixels: np.ndarray, class_index: int) -> bytes | None:
    """Where in uint8 (32, 32, 3) the evidence for a class lies: a PNG, or None where nothing speaks for the class."""
    heat = loaded_classifier(model).explain(pixels[None], np.array([class_index]))[0]
    return encode_png(overlay(pixels, heat)) if heat.any() else None


def neighbours_ready(model: Path) -> bool:
    """Whether the features of all training images are at hand."""
    return _neighbours_of(model)[0].is_ready()


def prepare_neighbours(model: Path) -> tuple[int, int]:
    """One portion of the features of all training images, of which `nearest` needs all; how many of how many.

    DatasetError where CIFAR-10 is not at hand.
    """
    neighbours, portions = _neighbours_of(model)
    try:
        total = len(neighbours.images)
        return next(portions, total), total
    except Exception:
        _neighbours.pop(model, None)  # a preparation that failed is over: the next one begins anew
        raise


def nearest(model: Path, pixels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k training images most alike to uint8 (32, 32, 3), nearest first, and how alike, 0 to 1.

    Returns pictures uint8 (k, 32, 32, 3), labels int64 (k,) and cosines float32 (k,).
    """
    neighbours, _ = _neighbours_of(model)
    indices, distances = neighbours.nearest(pixels[None], k)
    return np.asarray(neighbours.images[indices[0]]), np.asarray(neighbours.labels[indices[0]]), 1 - distances[0]


def _neighbours_of(model: Path) -> tuple:
    """The model's `neighbours.Neighbours`, and its preparation as far as it has come."""
    classifier = loaded_classifier(model)
    kept = _neighbours.get(model)
    if kept is None or kept[0] is not classifier:
        made = Neighbours(classifier)
        _neighbours[model] = kept = (classifier, made, made.prepare(batch_size=PORTION))
    _neighbours.move_to_end(model)
    while len(_neighbours) > KEPT_BANKS:
        _neighbours.popitem(last=False)
    return kept[1:]


_neighbours: OrderedDict[Path, tuple] = OrderedDict()
