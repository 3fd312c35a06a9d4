"""What a finished model answered on the test images, kept beside it."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifar_model.errors import ModelError
from cifar_model.models.layout import ANSWERS_FILE
from cifar_model.storage import replacing


@dataclass(frozen=True)
class StoredAnswers:
    """What a finished model answered on the test images, in the order that they had then.

    `fingerprints` uint64 (n,), of `data.split.fingerprints`, name the images by their content, so that they are found
    again in any copy of CIFAR-10, whatever its order; None in files that older versions wrote.

    `probabilities` is the network's own softmax, float32 (n, 10): `calibration.rescale` with the card's
    temperature makes it what `Classifier` answers. `labels` int64 (n,) is the truth. `scope` float32 (n,), higher =
    more like the ten classes, is None where the model has no such score.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    scope: np.ndarray | None = None
    fingerprints: np.ndarray | None = None

    def places(self, names: np.ndarray) -> np.ndarray:
        """Where each answered image lies among images of these fingerprints: int64 (n,), -1 where it doesn't.

        Raises
        ------
        ModelError
            An older version wrote these answers, without fingerprints.
        """
        if self.fingerprints is None:
            raise ModelError("An older version stored its answers without noting which images they belong to.")
        return find_by_fingerprint(self.fingerprints, names)

    def taken(self, places: np.ndarray) -> "StoredAnswers":
        """The answers at these places, int (k,)."""
        some = (None if part is None else part[places] for part in (self.scope, self.fingerprints))
        return StoredAnswers(self.probabilities[places], self.labels[places], *some)


def find_by_fingerprint(wanted: np.ndarray, names: np.ndarray) -> np.ndarray:
    """The first index in `names` of each of `wanted`, both uint64: int64 of the shape of `wanted`, -1 where absent."""
    known, first = np.unique(np.asarray(names, np.uint64), return_index=True)
    if not len(known):
        return np.full(np.shape(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, first[at], -1)


def write_answers(
    path: Path,
    *,
    probabilities: np.ndarray,
    labels: np.ndarray,
    scope: np.ndarray | None = None,
    fingerprints: np.ndarray | None = None,
) -> None:
    """Keep the answers of the model directory `path`, whole or not at all; LabError where it can't be written."""
    arrays: dict[str, Any] = {
        "probabilities": np.asarray(probabilities, np.float32),
        "labels": np.asarray(labels, np.int64),
    }
    if scope is not None:
        arrays["scope"] = np.asarray(scope, np.float32)
    if fingerprints is not None:
        arrays["fingerprints"] = np.asarray(fingerprints, np.uint64)
    with replacing(path / ANSWERS_FILE) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_answers(path: Path) -> StoredAnswers | None:
    """The answers of a model directory on the test images.

    None where there are none: an older model, a run under way, or one epoch of a run. ModelError where the file is
    broken.
    """
    file = path / ANSWERS_FILE
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            answers = StoredAnswers(
                stored["probabilities"], stored["labels"], stored.get("scope"), stored.get("fingerprints")
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} can't be read: {error}.") from None
    n = len(answers.labels)
    if answers.probabilities.shape != (n, 10) or (answers.scope is not None and answers.scope.shape != (n,)):
        raise ModelError(f"{file} holds answers {answers.probabilities.shape} for {n} labels; expected ({n}, 10).")
    names = answers.fingerprints
    if names is not None and (names.shape != (n,) or names.dtype != np.uint64):
        raise ModelError(f"{file} holds fingerprints {names.dtype} {names.shape}; expected uint64 ({n},).")
    return answers
