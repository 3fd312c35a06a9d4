"""What a model makes of pictures."""

from collections import OrderedDict
from pathlib import Path

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.answering.classifier import Classifier
from cifar_model.models.folder import model_version

KEPT_MODELS = 6


def answer(model: Path, pixels: np.ndarray) -> Answer:
    """Ask a model about uint8 (n, 32, 32, 3). It is loaded again when its network or its card changes."""
    return loaded_classifier(model).examine(pixels)


def loaded_classifier(model: Path):
    stamp = model_version(model)  # None: gone, and find_model says so, with the models that exist
    kept = _classifiers.get(model)
    if kept is None or kept[0] != stamp:
        classifier = Classifier(model)
        classifier.warm_up()
        _classifiers[model] = kept = (stamp, classifier)
    _classifiers.move_to_end(model)
    while len(_classifiers) > KEPT_MODELS:
        _classifiers.popitem(last=False)
    return kept[1]


_classifiers: OrderedDict[Path, tuple] = OrderedDict()
