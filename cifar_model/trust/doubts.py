"""Data that isn't what it says it is: noticed by a network that knows CIFAR-10."""

from collections.abc import Callable

import numpy as np

from cifar_model.text import share

CHECKED = 500  # pictures; 95 % of samples of so many lie within 3 points of a network's accuracy
FEWEST = 100
_MARGIN = 0.1  # of accuracy: what a whole copy of CIFAR-10 never lacks
_CLOSE = 0.025

_OTHERWISE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Red and blue seem to be swapped": lambda x: x[..., ::-1],
    "Rows and columns seem to be swapped": lambda x: x.transpose(0, 2, 1, 3),
    "The values seem to be three colour planes that were read as pixels": (
        lambda x: x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    ),
}


def data_doubts(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    expected: float,
    *,
    asked: str = "The network",
    part: str = "test",
) -> str | None:
    """What seems to be wrong with images and labels that are said to be CIFAR-10's, in words.

    Parameters
    ----------
    predict : uint8 (n, 32, 32, 3) → probabilities (n, 10), of a network trained on CIFAR-10
    images, labels : uint8 (n, 32, 32, 3), int (n,); CHECKED of them, evenly spread, are looked at
    expected : 0–1, what the network scores on the true test part; on images that it was trained on it scores more
    asked, part : what the message calls the network, and the images

    Returns
    -------
    str or None
        None where all seems right, or where fewer than 100 images or a poor network can't tell.
    """
    some = np.unique(np.linspace(0, len(labels) - 1, min(CHECKED, len(labels))).astype(int))
    if len(some) < FEWEST or expected < 0.5:
        return None
    images, labels = np.ascontiguousarray(images[some]), np.asarray(labels)[some]
    answers = predict(images).argmax(axis=1)
    accuracy = float((answers == labels).mean())
    if accuracy >= expected - _CLOSE:
        return None
    found = f"{asked} classifies {share(accuracy, 0)} of {len(some)} {part} images correctly"
    found += f"; {share(expected, 0)} is normal."
    rights = {
        said: float((predict(np.ascontiguousarray(change(images))).argmax(axis=1) == labels).mean())
        for said, change in _OTHERWISE.items()
    }
    said = max(rights, key=rights.__getitem__)
    # The same images twice: chance moves the difference less than either.
    if rights[said] > accuracy + _CLOSE and rights[said] >= expected - _MARGIN:
        return f"{found} {said}: put right, it is {share(rights[said], 0)}."
    if accuracy >= expected - _MARGIN:
        return None
    if np.bincount(labels, minlength=10).max() > 0.5 * len(labels):
        return f"{found} Most of them are of one class."
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (answers, labels), 1)
    if counts.max(axis=1).sum() / len(labels) >= expected - _MARGIN:
        return f"{found} The labels seem to number the classes in another order than airplane 0 to truck 9."
    if accuracy < 0.2:
        return f"{found} The labels don't match the images: they seem to be shuffled."
    return f"{found} The images or the labels are not those of CIFAR-10."
