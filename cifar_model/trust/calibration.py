"""How honest a classifier's probabilities are, and how they are made so: pure NumPy."""

import numpy as np

from cifar_model.trust.metrics import checked_answers, cross_entropy_loss

LARGEST_SHARE = 0.98  # of the smallest probability: taking all of it would call a class impossible


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
    return mean_gap(reliability_bins(y_true, probabilities, bins))


def mean_gap(bins: np.ndarray) -> float:
    """The mean of |confidence - accuracy|, 0–1, over bins (k, 3) of `reliability_bins`, by their numbers."""
    sure, right, number = np.asarray(bins).T
    return float(np.average(np.abs(sure - right), weights=number))


def reliability_bins(y_true: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> np.ndarray:
    """How sure the classifier was and how often it was right, in bins of equal number by confidence.

    Returns
    -------
    float64 array (k, 3), k = min(bins, n): mean confidence, accuracy (0–1 both), number of pictures; the least sure
    bin first.

    Raises
    ------
    ValueError
        No labels, arrays that don't belong together, or fewer than 1 bin.
    """
    y_true, probabilities = checked_answers(y_true, probabilities)
    if bins < 1:
        raise ValueError(f"bins must be 1 or more. Received: {bins}.")
    confidence = probabilities.max(axis=1).astype(float)
    right = probabilities.argmax(axis=1) == y_true
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence)))
    return np.array([(confidence[part].mean(), right[part].mean(), len(part)) for part in parts])


def calibrate(probabilities: np.ndarray, calibration: dict) -> np.ndarray:
    """A network's own softmax made honest, as a card's `calibration` says; {} changes nothing."""
    temperature, even_share = calibration.get("temperature", 1.0), calibration.get("even_share", 0.0)
    return probabilities if (temperature, even_share) == (1, 0) else rescale(probabilities, temperature, even_share)


def rescale(probabilities: np.ndarray, temperature: float, even_share: float = 0.0) -> np.ndarray:
    """Take what is spread evenly out of probabilities, then divide their logarithms by a temperature.

    A network trained with label smoothing, or shown pictures of other things with every class alike as their target,
    gives each class a floor: its answer is a mixture of what it believes and of the uniform distribution, and no
    temperature undoes a mixture. So `even_share` of the smallest probability is first subtracted from all ten. Above 1
    the temperature makes answers less sure, below 1 surer (Guo et al. 2017, "On Calibration of Modern Neural Networks",
    section 4.2). The order of the classes never changes.

    Parameters
    ----------
    probabilities : array (n, classes), rows sum to 1
    temperature : above 0
    even_share : 0 to below 1

    Returns
    -------
    array (n, classes) of the same dtype, rows sum to 1
    """
    probabilities = np.asarray(probabilities)
    logits = _logits(probabilities, even_share) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(probabilities.dtype)


def fit_temperature(y_true: np.ndarray, probabilities: np.ndarray, even_share: float = 0.0) -> float:
    """The temperature with the lowest cross-entropy on these labels, 0.05 to 20 (Guo et al. 2017, section 4.2).

    Fit it on pictures that the network has neither learnt from nor is scored on.

    Raises
    ------
    ValueError
        No labels, or arrays that don't belong together.
    """
    y_true, probabilities = checked_answers(y_true, probabilities)
    logits = _logits(probabilities, even_share)
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
    """What `calibrate` needs, with the lowest cross-entropy on these labels: {"temperature", "even_share"}.

    The even share is another than 0 only where these pictures clearly ask for a second number, that is, where it
    lowers the Bayesian information criterion (Schwarz 1978).

    Raises
    ------
    ValueError
        No labels, or arrays that don't belong together.
    """
    y_true, probabilities = checked_answers(y_true, probabilities)

    def loss(even_share: float) -> float:
        temperature = fit_temperature(y_true, probabilities, even_share)
        return cross_entropy_loss(y_true, rescale(probabilities.astype(float), temperature, even_share))

    coarse = min(np.arange(10) / 10, key=loss)
    best = float(min(np.clip(coarse + np.arange(-9, 10) / 100, 0, LARGEST_SHARE), key=loss))
    if 2 * len(y_true) * (loss(0.0) - loss(best)) <= np.log(len(y_true)):
        best = 0.0
    return {"temperature": fit_temperature(y_true, probabilities, best), "even_share": best}


def _logits(probabilities: np.ndarray, even_share: float) -> np.ndarray:
    probabilities = probabilities.astype(float)
    floor = even_share * probabilities.min(axis=1, keepdims=True)
    return np.log(np.maximum(probabilities - floor, 1e-30))
