"""Is this any of the ten? A score for pictures outside the classes, fitted without a single such picture.

The network's features of training pictures are compared with its features of the same pictures spoilt so that they
show nothing whole any more: shuffled, enlarged until only a part is left, pieced together, scrambled (`spoil`). A
logistic regression tells the two apart; added to it is how near the features lie, by angle, to the closest class's
mean. Both come from the pass of the network that answers.

Sources: Lee et al. 2018 (distances to class means, arXiv:1807.03888), Sun et al. 2022 (unit features,
arXiv:2204.06507), Tack et al. 2020 (shifted pictures as stand-ins for outliers, arXiv:2007.08176), Liu et al. 2023
(GEN, the entropy used here), Yang et al. 2022 (OpenOOD, comparison).
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ModelError
from cifar_model.storage import replacing

METHOD = "spoilt pictures and class means"
FALSE_ALARMS = 0.05

_RIDGE = 0.1  # times the number of pictures
_GEN_POWER = 0.1  # Liu et al. 2023
_MEANS_WEIGHT = 0.25


@dataclass(frozen=True)
class Scope:
    """A fitted score.

    Attributes
    ----------
    mean, scale : float32 (d + 3,), of the inputs of the regression on training pictures
    weights : float32 (d + 3,); bias : float
    centres : float32 (10, d), unit vectors: mean direction of each class's features
    units : float32 (2, 2), mean and spread of the two parts on held-out pictures
    threshold : float; a picture that scores below it is called out of scope
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float
    centres: np.ndarray
    units: np.ndarray
    threshold: float

    method = METHOD

    def score(self, features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """How much each picture looks like one of the ten classes.

        Parameters
        ----------
        features : float32 (n, d), see `views.with_features`
        probabilities : float32 (n, 10), the network's own softmax, not calibrated

        Returns
        -------
        float32 (n,), higher = more in scope; about 0 ± 2 for pictures of the ten classes

        Raises
        ------
        ValueError
            Arrays that don't belong together, or features of another network.
        """
        features, probabilities = _checked(features, probabilities)
        if features.shape[1] != self.centres.shape[1]:
            raise ValueError(
                f"The score was fitted on {self.centres.shape[1]} features. Received: {features.shape[1]} a picture."
            )
        parts = self._parts(features, probabilities)
        return (((parts - self.units[0]) / self.units[1]) @ (1.0, _MEANS_WEIGHT)).astype(np.float32)

    def _parts(self, features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The two parts before they are brought to one unit: float (n, 2)."""
        inputs = (_inputs(features, probabilities) - self.mean) / self.scale
        nearest = (_unit(features) @ self.centres.T).max(axis=1)
        return np.stack([inputs @ self.weights + self.bias, nearest], axis=1)

    def save(self, path: str | os.PathLike) -> None:
        """Write the score to the file `path` (.npz), whole or not at all; LabError where it can't be written."""
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Scope":
        """Read a score that `save` wrote; ModelError where the file is missing, broken or something else."""
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as stored:
                scope = cls(**{
                    name: float(stored[name]) if name in ("bias", "threshold") else stored[name]
                    for name in cls.__dataclass_fields__
                })  # fmt: skip
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path} can't be read as an out-of-scope score: {error}.") from None
        d = scope.centres.shape[-1]
        wanted = {"mean": (d + 3,), "scale": (d + 3,), "weights": (d + 3,), "centres": (len(CLASS_NAMES), d)}
        for name, shape in (wanted | {"units": (2, 2)}).items():
            array = getattr(scope, name)
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ModelError(f"{path}: {name} is {array.dtype} {array.shape}, expected finite float32 {shape}.")
        return scope


def fit_scope(
    features: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    held_features: np.ndarray,
    held_probabilities: np.ndarray,
    *,
    spoilt_features: np.ndarray,
    spoilt_probabilities: np.ndarray,
) -> Scope:
    """Fit the score of one network.

    Parameters
    ----------
    features, labels, probabilities
        Of some thousand training pictures that went through `vary`: float32 (n, d), int64 (n,), float32 (n, 10), the
        network's own softmax.
    held_features, held_probabilities
        Of pictures that the network didn't learn from: of these, `FALSE_ALARMS` fall below the threshold.
    spoilt_features, spoilt_probabilities
        Of training pictures that went through `spoil`.

    Raises
    ------
    ValueError
        Arrays that don't belong together, or too few.
    """
    features, probabilities = _checked(features, probabilities)
    held_features, held_probabilities = _checked(held_features, held_probabilities)
    spoilt_features, spoilt_probabilities = _checked(spoilt_features, spoilt_probabilities)
    labels = np.asarray(labels)
    if labels.shape != features.shape[:1] or min(len(features), len(held_features), len(spoilt_features)) < 2:
        raise ValueError(
            "Each of the three sets needs pictures, and each training picture a label. Received: "
            f"{len(features)}, {len(held_features)} and {len(spoilt_features)} pictures, labels {labels.shape}."
        )
    whole, spoilt = _inputs(features, probabilities), _inputs(spoilt_features, spoilt_probabilities)
    mean, scale = whole.mean(axis=0), whole.std(axis=0) + 1e-6
    weights = _logistic((whole - mean) / scale, (spoilt - mean) / scale)
    directions = _unit(features)
    sums = np.stack([directions[labels == number].sum(axis=0) for number in range(len(CLASS_NAMES))])
    unfinished = Scope(
        mean.astype(np.float32),
        scale.astype(np.float32),
        weights[:-1].astype(np.float32),
        float(weights[-1]),
        _unit(sums).astype(np.float32),
        np.array([[0, 0], [1, 1]], np.float32),
        0.0,
    )
    parts = unfinished._parts(held_features, held_probabilities)
    units = np.stack([parts.mean(axis=0), parts.std(axis=0) + 1e-6]).astype(np.float32)
    fitted = Scope(**vars(unfinished) | {"units": units})
    threshold = float(np.quantile(fitted.score(held_features, held_probabilities), FALSE_ALARMS))
    return Scope(**vars(fitted) | {"threshold": threshold})


def _checked(features: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, probabilities = np.asarray(features, np.float32), np.asarray(probabilities, np.float32)
    if features.ndim != 2 or probabilities.shape != (len(features), len(CLASS_NAMES)):
        raise ValueError(
            "Features (n, d) and probabilities (n, 10) belong together. "
            f"Received: {features.shape} and {probabilities.shape}."
        )
    return features, probabilities


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)


def generalised_entropy(probabilities: np.ndarray) -> np.ndarray:
    """GEN (Liu et al. 2023): sum of (p (1 - p)) ** 0.1 over the classes, float (n,); higher = less sure."""
    probabilities = np.asarray(probabilities, float)
    return (np.maximum(probabilities * (1 - probabilities), 0) ** _GEN_POWER).sum(axis=1)


def _inputs(features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """What the regression sees: the features' direction (d), their length, and how torn the answer is; (n, d + 3)."""
    length = np.log(np.linalg.norm(features, axis=1) + 1e-9)
    answer = (length, generalised_entropy(probabilities), probabilities.max(axis=1))
    return np.concatenate([_unit(features), np.stack(answer, axis=1)], axis=1).astype(np.float64)


def _logistic(ones: np.ndarray, zeros: np.ndarray, steps: int = 12) -> np.ndarray:
    """Ridge logistic regression by Newton's method, both sides of equal weight: (d + 1,), the bias last."""
    x = np.concatenate([ones, zeros])
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    y = np.repeat([1.0, 0.0], [len(ones), len(zeros)])
    share = np.repeat([len(x) / 2 / len(ones), len(x) / 2 / len(zeros)], [len(ones), len(zeros)])
    ridge = np.full(x.shape[1], _RIDGE * len(x))
    ridge[-1] = 1e-6
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (share * (p - y)) + ridge * weights
        curve = (x * (share * p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < 1e-4:
            break
    return weights
