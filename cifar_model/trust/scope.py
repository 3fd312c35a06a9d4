"""Is this any of the ten? How sure the network is of its first class tells.

A picture is called out of scope where the largest calibrated probability is below a threshold that 5 % of held-out
images of the ten classes miss: the baseline of Hendrycks & Gimpel 2017 (arXiv:1610.02136). A network that was shown
pictures of other things in its training, with every class alike as their target (outlier exposure, Hendrycks et al.
2019, arXiv:1812.04606), is unsure of such pictures, and then this plain score does as well as any other that
`benchmarks.out_of_scope` compares. Pure NumPy.
"""

import numpy as np

METHOD = "largest calibrated probability"
FALSE_ALARMS = 0.05


def scope_score(probabilities: np.ndarray) -> np.ndarray:
    """How much each picture looks like one of the ten classes.

    Parameters
    ----------
    probabilities : float (n, 10), calibrated; rows sum to 1

    Returns
    -------
    float32 (n,), 0.1 to 1, higher = more in scope
    """
    return np.asarray(probabilities, np.float32).max(axis=1)


def fit_threshold(probabilities: np.ndarray) -> float:
    """The score below which a picture is called out of scope: `FALSE_ALARMS` of these lie below it.

    Parameters
    ----------
    probabilities : float (n, 10), n ≥ 1, calibrated answers to held-out images of the ten classes

    Raises
    ------
    ValueError
        No images.
    """
    if not len(probabilities):
        raise ValueError("A threshold is fitted on held-out images. Received: none.")
    return float(np.quantile(scope_score(probabilities), FALSE_ALARMS))
