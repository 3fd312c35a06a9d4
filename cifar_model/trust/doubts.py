"""Data that isn't what it says it is: noticed by a network that knows CIFAR-10."""

from collections.abc import Callable

import numpy as np

CHECKED = 500  # pictures; 95 % of samples of so many lie within 3 points of a network's accuracy
FEWEST = 100
_MARGIN = 0.1  # of accuracy: what a whole copy of CIFAR-10 never lacks
_CLOSE = 0.025

_OTHERWISE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "red and blue are in each other's place": lambda x: x[..., ::-1],
    "rows and columns are in each other's place": lambda x: x.transpose(0, 2, 1, 3),
    "each row of values holds three planes of colour, read as if it held pixels": (
        lambda x: x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    ),
}


def data_doubts(
    predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, labels: np.ndarray, expected: float
) -> str | None:
    """What seems to be wrong with pictures and labels that are said to be CIFAR-10's test part, in words.

    Parameters
    ----------
    predict : uint8 (n, 32, 32, 3) → probabilities (n, 10), of a network trained on CIFAR-10
    images, labels : uint8 (n, 32, 32, 3), int (n,); CHECKED of them, evenly spread, are looked at
    expected : 0–1, what the network scores on the true test part

    Returns
    -------
    str or None
        None where all seems right, or where fewer than 100 pictures or a poor network can't tell.
    """
    some = np.unique(np.linspace(0, len(labels) - 1, min(CHECKED, len(labels))).astype(int))
    if len(some) < FEWEST or expected < 0.5:
        return None
    images, labels = np.ascontiguousarray(images[some]), np.asarray(labels)[some]
    answers = predict(images).argmax(axis=1)
    accuracy = float((answers == labels).mean())
    if accuracy >= expected - _CLOSE:
        return None
    found = f"It gets {accuracy:.0%} of {len(some)} test pictures right, where {expected:.0%} are to be expected"
    rights = {
        said: float((predict(np.ascontiguousarray(change(images))).argmax(axis=1) == labels).mean())
        for said, change in _OTHERWISE.items()
    }
    said = max(rights, key=rights.__getitem__)
    # The same pictures twice: chance moves the difference less than either.
    if rights[said] > accuracy + _CLOSE and rights[said] >= expected - _MARGIN:
        return f"{found}: {said} (set right, it gets {rights[said]:.0%})."
    if accuracy >= expected - _MARGIN:
        return None
    if np.bincount(labels, minlength=10).max() > 0.5 * len(labels):
        return f"{found}: most of them are of one class."
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (answers, labels), 1)
    if counts.max(axis=1).sum() / len(labels) >= expected - _MARGIN:
        return f"{found}: the labels number the classes in another order than airplane 0 to truck 9."
    if accuracy < 0.2:
        return f"{found}: the labels don't belong to the pictures; they seem to be shuffled."
    return f"{found}: pictures or labels are not those of CIFAR-10."
