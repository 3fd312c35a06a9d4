"""What a finished model answered on the test images, kept beside it."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_model.errors import ModelError
from cifar_model.models.layout import ANSWERS_FILE
from cifar_model.storage import replacing


@dataclass(frozen=True)
class Answers:
    """What a finished model answered on the test images, in their order.

    `probabilities` is the network's own softmax, float32 (n, 10): `calibration.scale_temperature` with the card's
    temperature makes it what `Classifier` answers. `labels` int64 (n,) is the truth. `scope` float32 (n,), higher =
    more like the ten classes, is None where the model has no such score.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    scope: np.ndarray | None = None


def write_answers(
    path: Path, *, probabilities: np.ndarray, labels: np.ndarray, scope: np.ndarray | None = None
) -> None:
    """Keep the `Answers` of the model directory `path`, whole or not at all; LabError where it can't be written."""
    arrays = {"probabilities": np.asarray(probabilities, np.float32), "labels": np.asarray(labels, np.int64)}
    if scope is not None:
        arrays["scope"] = np.asarray(scope, np.float32)
    with replacing(path / ANSWERS_FILE) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_answers(path: Path) -> Answers | None:
    """The answers of a model directory on the test images.

    None where there are none: an older model, a run under way, or one epoch of a run. ModelError where the file is
    broken.
    """
    file = path / ANSWERS_FILE
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            answers = Answers(stored["probabilities"], stored["labels"], stored.get("scope"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} can't be read: {error}.") from None
    n = len(answers.labels)
    if answers.probabilities.shape != (n, 10) or (answers.scope is not None and answers.scope.shape != (n,)):
        raise ModelError(f"{file} holds answers {answers.probabilities.shape} for {n} labels; expected ({n}, 10).")
    return answers
