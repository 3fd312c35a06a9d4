"""Is this any of the ten? How evenly the network spreads its answer over the classes tells.

The score is generalised entropy (GEN; Liu, Lochman & Zach 2023, "GEN: Pushing the Limits of Softmax-Based
Out-of-Distribution Detection", equation 3), of the network's own softmax and over all ten classes; a picture is called
out of scope where it is below a threshold that 5 % of held-out images of the ten classes miss. A network that was shown
pictures of other things in its training, with every class alike as their target (outlier exposure, Hendrycks et al.
2019, arXiv:1812.04606), answers such pictures evenly. What the score is compared with: `benchmarks.out_of_scope`.
Pure NumPy.
"""

import numpy as np

METHOD = "generalised entropy"
FALSE_ALARMS = 0.05
GAMMA = 0.1  # the paper's: small, so that the least probable classes count as well
_EVEN = 10 * (0.1 * 0.9) ** GAMMA  # the sum of an answer that is spread evenly


def scope_score(raw: np.ndarray) -> np.ndarray:
    """How much each picture looks like one of the ten classes.

    Parameters
    ----------
    raw : float (n, 10), the network's own softmax, not calibrated; rows sum to 1

    Returns
    -------
    float32 (n,): 1 for all belief on one class, 0 for a belief spread evenly over the ten
    """
    raw = np.clip(np.asarray(raw, float), 0, 1)
    # What the other classes have. 1 - raw would lose it where float32 rounds a sure answer to 1: a step of 0.024.
    others = np.clip(raw.sum(axis=1, keepdims=True) - raw, 0, 1)
    return (1 - ((raw * others) ** GAMMA).sum(axis=1) / _EVEN).astype(np.float32)


def fit_threshold(raw: np.ndarray) -> float:
    """The score below which a picture is called out of scope: `FALSE_ALARMS` of these lie below it.

    Parameters
    ----------
    raw : float (n, 10), n ≥ 1, the network's own answers to held-out images of the ten classes

    Raises
    ------
    ValueError
        No images.
    """
    if not len(raw):
        raise ValueError("A threshold is fitted on held-out images. Received: none.")
    return float(np.quantile(scope_score(raw), FALSE_ALARMS))
