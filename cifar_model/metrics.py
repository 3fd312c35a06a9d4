"""How good a classifier's answers are, and how honest its probabilities: pure NumPy.

Throughout, `y_true` is an int array (n,) of class indexes 0–9, `y_pred` the same for the answers, and
`probabilities` a float array (n, 10) whose rows sum to 1, columns in the order of CLASS_NAMES.
`*_score`: higher is better; `*_loss`, `*_error`: lower is better.
"""

import numpy as np

from .classes import CLASS_NAMES


def accuracy_score(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Share of answers that are right, 0–1.

    Raises
    ------
    ValueError
        No labels, or arrays of different lengths.
    """
    y_true, y_pred = _labels(y_true, y_pred)
    return float(np.mean(y_true == y_pred))


def top_k_accuracy_score(y_true: np.ndarray, probabilities: np.ndarray, k: int = 3) -> float:
    """Share of pictures whose true class is among the `k` most probable, 0–1.

    Of equal probabilities the one with the higher class index counts as larger, as in scikit-learn.

    Raises
    ------
    ValueError
        No labels, arrays that don't belong together, or a `k` outside 1–10.
    """
    y_true, probabilities = _answers(y_true, probabilities)
    if not 1 <= k <= probabilities.shape[1]:
        raise ValueError(f"k must be 1 to {probabilities.shape[1]}. Received: {k}.")
    best = np.argsort(probabilities, axis=1, kind="stable")[:, -k:]
    return float(np.mean((best == y_true[:, None]).any(axis=1)))


def cross_entropy_loss(y_true: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean of -ln(probability given to the true class), in nats; ln 10 ≈ 2.30 is what guessing gets.

    A probability below the resolution of its type (float32: 1.2e-7) counts as that, so one hopeless answer
    doesn't make the mean infinite.

    Raises
    ------
    ValueError
        No labels, or arrays that don't belong together.
    """
    y_true, probabilities = _answers(y_true, probabilities)
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


def expected_calibration_error(y_true: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Mean gap between how sure the classifier was and how often it was right, 0–1.

    The confidence is the highest probability. Answers sorted by it are cut into `bins` of equal number
    (Nguyen & O'Connor 2015; bins of equal width would be nearly empty at the low end); the gaps
    |mean confidence - accuracy| are weighted by the bins' sizes (ECE, Guo et al. 2017, equation 3).

    Raises
    ------
    ValueError
        No labels, arrays that don't belong together, or fewer than 1 bin.
    """
    sure, right, number = reliability_bins(y_true, probabilities, bins).T
    return float(np.average(np.abs(sure - right), weights=number))


def reliability_bins(y_true: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> np.ndarray:
    """How sure the classifier was and how often it was right, in bins of equal number by confidence.

    Returns
    -------
    float64 array (k, 3), k = min(bins, n): mean confidence, accuracy (0–1 both), number of pictures; the least sure
    bin first. `expected_calibration_error` is the mean of |confidence - accuracy| weighted by the numbers.

    Raises
    ------
    ValueError
        No labels, arrays that don't belong together, or fewer than 1 bin.
    """
    y_true, probabilities = _answers(y_true, probabilities)
    if bins < 1:
        raise ValueError(f"bins must be 1 or more. Received: {bins}.")
    confidence = probabilities.max(axis=1).astype(float)
    right = probabilities.argmax(axis=1) == y_true
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence)))
    return np.array([(confidence[part].mean(), right[part].mean(), len(part)) for part in parts])


def scale_temperature(probabilities: np.ndarray, temperature: float, power: float = 0.0) -> np.ndarray:
    """Softmax probabilities as they would be with all logits divided by `temperature`.

    Above 1 it makes answers less sure, below 1 surer; their order never changes (Guo et al. 2017, "On
    Calibration of Modern Neural Networks", section 4.2).

    With a `power` q other than 0, what is divided is not ln p but (p^q - 1) / q (Box & Cox 1964), of which ln p is the
    limit at q = 0. A network trained with label smoothing leaves every class a floor of probability; below 0 the
    power tells apart what lies near that floor, which no single temperature can.

    Parameters
    ----------
    probabilities : array (n, classes), rows sum to 1
    temperature : above 0
    power : usually -1 to 0

    Returns
    -------
    array (n, classes) of the same dtype, rows sum to 1
    """
    probabilities = np.asarray(probabilities)
    logits = _box_cox(probabilities, power) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(probabilities.dtype)


def calibrate(probabilities: np.ndarray, calibration: dict) -> np.ndarray:
    """A network's own softmax made honest: `scale_temperature` as a card's `calibration` says; {} changes nothing."""
    temperature, power = calibration.get("temperature", 1.0), calibration.get("power", 0.0)
    return probabilities if (temperature, power) == (1, 0) else scale_temperature(probabilities, temperature, power)


def fit_temperature(y_true: np.ndarray, probabilities: np.ndarray, power: float = 0.0) -> float:
    """The temperature with the lowest cross-entropy on these labels, 0.05 to 20 (Guo et al. 2017, section 4.2).

    Fit it on pictures that the network has neither learnt from nor is scored on.

    Raises
    ------
    ValueError
        No labels, or arrays that don't belong together.
    """
    y_true, probabilities = _answers(y_true, probabilities)
    logits = _box_cox(probabilities, power)
    logits -= logits.max(axis=1, keepdims=True)
    wanted = logits[np.arange(len(y_true)), y_true].mean()
    low, high = 1 / 20, 20.0  # of the inverse temperature: in it the loss is convex, its slope rises
    for _ in range(60):
        middle = (low + high) / 2
        powers = np.exp(middle * logits)
        slope = (powers * logits).sum(axis=1) / powers.sum(axis=1)
        low, high = (middle, high) if slope.mean() < wanted else (low, middle)
    return 1 / low


def fit_calibration(y_true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """What `calibrate` needs, with the lowest cross-entropy on these labels: {"temperature", "power"}.

    The power is another than 0 only where these pictures clearly ask for a second number, that is, where it lowers
    the Bayesian information criterion (Schwarz 1978).

    Raises
    ------
    ValueError
        No labels, or arrays that don't belong together.
    """
    y_true, probabilities = _answers(y_true, probabilities)

    def loss(power: float) -> float:
        temperature = fit_temperature(y_true, probabilities, power)
        return cross_entropy_loss(y_true, scale_temperature(probabilities.astype(float), temperature, power))

    coarse = min(np.arange(-10, 6) / 10, key=loss)
    best = float(min(coarse + np.arange(-9, 10) / 100, key=loss))
    if 2 * len(y_true) * (loss(0.0) - loss(best)) <= np.log(len(y_true)):
        best = 0.0
    return {"temperature": fit_temperature(y_true, probabilities, best), "power": best}


def _box_cox(probabilities: np.ndarray, power: float) -> np.ndarray:
    logits = np.log(np.maximum(probabilities.astype(float), 1e-30))
    return np.expm1(power * logits) / power if power else logits


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


def _answers(y_true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
