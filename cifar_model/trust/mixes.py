"""Does a network read a mix? Blends of two test images, and the probabilities that it gives to both."""

from collections.abc import Callable

import numpy as np

from cifar_model.data.split import fingerprints

PAIRS = 1_000
SHARES = tuple(number / 10 for number in range(1, 10))
BATCH_PAIRS = 50


def pairs_of(images: int) -> int:
    """How many pairs of so many images are scored, unless somebody asks for more: 1,000, and no more than images."""
    return min(PAIRS, images)


def draw_pairs(images: np.ndarray, labels: np.ndarray, pairs: int = PAIRS, *, seed: int = 0) -> np.ndarray:
    """Random pairs of images of two different classes.

    Parameters
    ----------
    images : uint8 (n, 32, 32, 3)
    labels : int (n,), at least two different ones
    pairs : how many pairs, 1 or more

    Returns
    -------
    int64 (pairs, 2), indexes
        The same pictures in whatever order they come.

    Raises
    ------
    ValueError
        Fewer than two classes.
    """
    if len(np.unique(labels)) < 2:
        raise ValueError("Pairs of two classes need images of at least two. Received: images of one class.")
    order = np.argsort(fingerprints(images), kind="stable")
    rng = np.random.default_rng(seed)
    found = np.empty((0, 2), np.int64)
    while len(found) < pairs:
        drawn = order[rng.integers(0, len(order), (2 * pairs, 2))]
        found = np.concatenate([found, drawn[labels[drawn[:, 0]] != labels[drawn[:, 1]]]])
    return found[:pairs]


def mix_scores(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    pairs: int | None = None,
    seed: int = 0,
    between: Callable[[], None] = lambda: None,
) -> dict:
    """How well the probabilities of blends follow their shares.

    Each pair is blended pixel by pixel at 10, 20, … 90 %, rounded to whole grey levels as a mixed picture is.

    Parameters
    ----------
    predict : from uint8 (n, 32, 32, 3) to probabilities (n, 10)
    images, labels : uint8 (n, 32, 32, 3) and int (n,), images that the network didn't learn from
    pairs, seed : see `draw_pairs`; by default `pairs_of` as many images
    between : called after each batch

    Returns
    -------
    dict
        "pairs"; "share_error": mean of |probability - share| over both parents and all shares, 0 to 1, lower is
        better; "parents_mass": mean of both parents' probabilities together; "top_two": share of the pairs whose two
        classes are the two most probable at 50 %.
    """
    pairs = pairs or pairs_of(len(labels))
    chosen = draw_pairs(images, labels, pairs, seed=seed)
    shares = np.array(SHARES, np.float32)
    errors, masses, top_two = [], [], []
    for start in range(0, pairs, BATCH_PAIRS):
        some = chosen[start : start + BATCH_PAIRS]
        first, second = (images[some[:, side]][:, None].astype(np.float32) for side in (0, 1))
        weight = shares[None, :, None, None, None]
        blends = np.rint(weight * first + (1 - weight) * second).astype(np.uint8)
        answers = predict(blends.reshape(-1, *blends.shape[2:])).reshape(len(some), len(shares), -1)
        row = np.arange(len(some))
        p_first, p_second = answers[row, :, labels[some[:, 0]]], answers[row, :, labels[some[:, 1]]]
        errors.append((np.abs(p_first - shares) + np.abs(p_second - (1 - shares))) / 2)
        masses.append(p_first + p_second)
        best = np.sort(np.argsort(-answers[:, len(shares) // 2], axis=1)[:, :2], axis=1)
        top_two.append((best == np.sort(labels[some], axis=1)).all(axis=1))
        between()
    return {
        "pairs": pairs,
        "share_error": float(np.concatenate(errors).mean()),
        "parents_mass": float(np.concatenate(masses).mean()),
        "top_two": float(np.concatenate(top_two).mean()),
    }
