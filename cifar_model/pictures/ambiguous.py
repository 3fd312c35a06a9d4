"""The most ambiguous mixes: of many pairs of pictures, those whose mix a classifier can make the least of."""

import itertools
from typing import NamedTuple

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import SettingsError
from cifar_model.pictures.mix import MODES, blend

# What makes a mix surprising, each explained in one line.
SURPRISES: dict[str, str] = {
    "third": "A third class wins: neither of the two pictures, yet the surest answer. The surest come first.",
    "unsure": "The least sure: even the best answer gets little.",
    "many": "The most answers that can't be ruled out: the largest answer sets (see Classify).",
}
RATIOS = (0.4, 0.5, 0.6)  # a mid-blend shows both pictures


class Mix(NamedTuple):
    """A mix of two pictures by their indexes; `ratio` is the share of `a`, 0 to 1."""

    a: int
    b: int
    mode: str
    ratio: float


def mid_blends(
    pairs: list[tuple[int, int]], *, modes: tuple[str, ...] = tuple(MODES), ratios: tuple[float, ...] = RATIOS
) -> list[Mix]:
    """Every way and ratio to mix each pair, pair by pair."""
    return [Mix(a, b, mode, ratio) for (a, b), mode, ratio in itertools.product(pairs, modes, ratios)]


def mix_pictures(pictures: np.ndarray, mixes: list[Mix]) -> np.ndarray:
    """Mix pictures uint8 (n, 32, 32, 3): uint8 (len(mixes), 32, 32, 3). Raises what `mix.blend` does."""
    mixed = [blend(pictures[mix.a], pictures[mix.b], mix.ratio, mode=mix.mode) for mix in mixes]
    return np.array(mixed, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)


def class_pairs() -> list[tuple[int, int]]:
    """The 45 pairs of different classes, as indexes."""
    return list(itertools.combinations(range(len(CLASS_NAMES)), 2))


def draw_pairs(labels: np.ndarray, each: int, seed: int = 0) -> list[tuple[int, int]]:
    """At random `each` pairs of pictures for each pair of classes.

    Parameters
    ----------
    labels : int array (n,), class indexes 0–9; a pair of classes of which one has no picture is left out

    Returns
    -------
    list of pairs of indexes into `labels`; the same for the same seed
    """
    rng = np.random.default_rng(seed)
    by_class = [np.flatnonzero(np.asarray(labels) == c) for c in range(len(CLASS_NAMES))]
    return [
        (int(rng.choice(by_class[a])), int(rng.choice(by_class[b])))
        for a, b in class_pairs()
        for _ in range(each)
        if len(by_class[a]) and len(by_class[b])
    ]


def rank_mixes(
    probabilities: np.ndarray, parents: np.ndarray, *, sets: np.ndarray | None = None, by: str = "third"
) -> list[int]:
    """Which mixes are the most surprising; of each pair of classes only the one that is most so.

    Parameters
    ----------
    probabilities : float array (n, 10), a classifier's answers to the mixes
    parents : int array (n, 2), the classes of the two pictures that each mix is made of
    sets : bool array (n, 10), the answer sets of the mixes (see `conformal`); needed for "many"
    by : a key of `SURPRISES`. "third" ranks by the winner's probability, and leaves out mixes that a parent wins;
        "unsure" by the lowest top probability; "many" by the size of the set, then as "unsure"

    Returns
    -------
    list of indexes of mixes, most surprising first; at most 45

    Raises
    ------
    SettingsError
        An unknown `by`, or "many" without sets.
    ValueError
        Arrays that don't belong together.
    """
    probabilities, parents = np.asarray(probabilities, float), np.asarray(parents)
    n = len(probabilities)
    if probabilities.shape != (n, len(CLASS_NAMES)) or parents.shape != (n, 2):
        raise ValueError(
            f"Expected probabilities (n, 10) and parents (n, 2). Received: {probabilities.shape}, {parents.shape}."
        )
    if by not in SURPRISES:
        raise SettingsError(f"Mixes can't be ranked by {by!r}. Choose one of: {', '.join(SURPRISES)}.")
    top, winners = probabilities.max(axis=1), probabilities.argmax(axis=1)
    wanted = np.ones(n, bool)
    if by == "third":
        wanted = (winners[:, None] != parents).all(axis=1)
        order = np.argsort(-top, kind="stable")
    elif by == "unsure":
        order = np.argsort(top, kind="stable")
    elif sets is None:
        raise SettingsError("This model has no answer sets to rank by; its card would hold them. Rank by 'unsure'.")
    else:
        order = np.lexsort((top, -np.asarray(sets).sum(axis=1)))
    best: dict[tuple, int] = {}
    for index in order:
        if wanted[index]:
            best.setdefault(tuple(sorted(parents[index].tolist())), int(index))
    return list(best.values())
