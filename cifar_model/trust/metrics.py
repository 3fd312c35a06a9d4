"""How good a classifier's answers are: pure NumPy.

Throughout, `y_true` is an int array (n,) of class indexes 0–9, `y_pred` the same for the answers, and
`probabilities` a float array (n, 10) whose rows sum to 1, columns in the order of CLASS_NAMES.
`*_score`: higher is better; `*_loss`, `*_error`: lower is better.
"""

import numpy as np

from cifar_model.classes import CLASS_NAMES


def accuracy_score(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Share of answers that are right, 0–1.

    Raises
    ------
    ValueError
        No labels, or arrays of different lengths.
    """
    y_true, y_pred = _labels(y_true, y_pred)
    return float(np.mean(y_true == y_pred))


def cross_entropy_loss(y_true: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean of -ln(probability given to the true class), in nats; ln 10 ≈ 2.30 is what guessing gets.

    A probability below the resolution of its type (float32: 1.2e-7) counts as that, so one hopeless answer
    doesn't make the mean infinite.

    Raises
    ------
    ValueError
        No labels, or arrays that don't belong together.
    """
    y_true, probabilities = checked_answers(y_true, probabilities)
    given = probabilities[np.arange(len(y_true)), y_true]
    floor = np.finfo(given.dtype).eps
    return float(-np.log(np.clip(given, floor, 1)).mean(dtype=np.float64))


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray, n: int = len(CLASS_NAMES)) -> np.ndarray:
    """Count each pair of truth and answer.

    Returns
    -------
    int64 array (n, n): rows = truth, columns = answer

    Raises
    ------
    ValueError
        No labels, arrays of different lengths, or a class outside 0 … n-1.
    """
    y_true, y_pred = _labels(y_true, y_pred)
    for labels in (y_true, y_pred):
        _check_range(labels, n)
    return np.bincount(y_true * n + y_pred, minlength=n * n).reshape(n, n)


def precision_recall(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per class: of what was called so, how much was right; of what is so, how much was found.

    Parameters
    ----------
    confusion : int array (n, n), rows = truth, from `confusion_matrix`

    Returns
    -------
    precision, recall : float64 arrays (n,), 0–1; 0 where a class was never answered, or never shown
    """
    confusion = np.asarray(confusion)
    right = np.diagonal(confusion).astype(float)
    called, shown = confusion.sum(axis=0), confusion.sum(axis=1)
    return right / np.maximum(called, 1), right / np.maximum(shown, 1)


def _labels(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim != 1 or y_true.shape != y_pred.shape or not y_true.size:
        raise ValueError(
            f"Labels and answers must be two arrays (n,), n ≥ 1. Received: {y_true.shape} and {y_pred.shape}."
        )
    for labels in (y_true, y_pred):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"Labels must be whole numbers. Received: {labels.dtype}.")
    return y_true.astype(np.int64), y_pred.astype(np.int64)


def checked_answers(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y_true, probabilities = np.asarray(y_true), np.asarray(probabilities)
    if probabilities.ndim != 2 or y_true.shape != probabilities.shape[:1] or not y_true.size:
        raise ValueError(
            "Labels (n,) and probabilities (n, classes), n ≥ 1, belong together. "
            f"Received: {y_true.shape} and {probabilities.shape}."
        )
    if not np.issubdtype(y_true.dtype, np.integer):
        raise ValueError(f"Labels must be whole numbers. Received: {y_true.dtype}.")
    _check_range(y_true, probabilities.shape[1])
    return y_true.astype(np.int64), probabilities


def _check_range(labels: np.ndarray, n: int) -> None:
    if labels.min() < 0 or labels.max() >= n:
        raise ValueError(f"Labels must lie in 0 … {n - 1}. Received: {labels.min()} … {labels.max()}.")
