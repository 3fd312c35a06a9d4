"""What a model makes of pictures."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_model.answering.classifier import Classifier
from cifar_model.models.layout import MODEL_FILE
from cifar_model.trust.answer_sets import LEVELS, answer_sets

KEPT_MODELS = 6


@dataclass(frozen=True)
class Beliefs:
    """What a model makes of n pictures; an index picks some of them, as of an array.

    What a model's card holds nothing for is None: sets, scope and in_scope.
    """

    probabilities: np.ndarray  # float32 (n, 10), calibrated
    raw: np.ndarray  # float32 (n, 10), the network's own softmax
    sets: np.ndarray | None = None  # bool (n, 3, 10): the answer set for each of answer_sets.LEVELS
    scope: np.ndarray | None = None  # float32 (n,), higher = more like the ten classes
    in_scope: np.ndarray | None = None  # bool (n,)

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index) -> "Beliefs":
        return Beliefs(*(None if part is None else part[index] for part in self._parts()))

    @classmethod
    def join(cls, several: list["Beliefs"]) -> "Beliefs":
        """Put together what one model was asked in parts."""
        parts = zip(*(beliefs._parts() for beliefs in several), strict=True)
        return cls(*(None if any(one is None for one in part) else np.concatenate(part) for part in parts))

    def _parts(self) -> tuple:
        return self.probabilities, self.raw, self.sets, self.scope, self.in_scope

    def shown(self, raw: bool) -> np.ndarray:
        """The probabilities that a visitor wants to see."""
        return self.raw if raw else self.probabilities

    def members(self, level: int) -> np.ndarray | None:
        """The answer sets at a level of answer_sets.LEVELS: bool (n, 10)."""
        return None if self.sets is None else self.sets[..., LEVELS.index(level), :]


def answer(model: Path, pixels: np.ndarray) -> Beliefs:
    """Ask a model about uint8 (n, 32, 32, 3). It is loaded again when its file changes."""
    classifier = loaded_classifier(model)
    found = classifier.examine(pixels)
    sets = None
    if found.sets is not None:
        by_level = [answer_sets(found.probabilities, classifier.sets, level) for level in LEVELS]
        sets = np.stack(by_level, axis=1)
    return Beliefs(found.probabilities, found.raw, sets, found.scope, found.in_scope)


def loaded_classifier(model: Path):
    file = model / MODEL_FILE if model.is_dir() else model
    try:
        status = file.stat()
        stamp = (status.st_mtime_ns, status.st_size)
    except OSError:
        stamp = None  # gone: find_model says so, with the models that exist
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
