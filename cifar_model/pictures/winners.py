"""Where the leading class changes as one picture turns into the other, found and put in words."""

import itertools
from typing import NamedTuple

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.pictures.mix import checked_ratio
from cifar_model.text import percent, proportion


class WinnerChange(NamedTuple):
    """From this share of the first picture on, class `after` leads where class `before` led (indexes)."""

    ratio: float
    before: int
    after: int


def _checked_probabilities(probabilities: np.ndarray) -> np.ndarray:
    probabilities = np.asarray(probabilities, float)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(CLASS_NAMES) or len(probabilities) < 2:
        raise ValueError(f"Expected probabilities of shape (steps ≥ 2, 10). Received: {probabilities.shape}.")
    return probabilities


def winner_changes(probabilities: np.ndarray) -> list[WinnerChange]:
    """Where the leading class changes as the first picture's share goes from 0 to 1.

    Parameters
    ----------
    probabilities : float array (steps, 10), answers along a `sweep`: rows = ratios 0 … 1, columns = classes

    Returns
    -------
    list of WinnerChange(ratio, before, after), by rising ratio; third classes on the way are listed too
    """
    probabilities = _checked_probabilities(probabilities)
    winners = probabilities.argmax(axis=1)
    last = len(winners) - 1
    return [
        WinnerChange(i / last, int(before), int(after))
        for i, (before, after) in enumerate(itertools.pairwise(winners), start=1)
        if before != after
    ]


def describe_changes(probabilities: np.ndarray) -> str:
    """Say where the leading class changes along a sweep: "dog → frog at 43 %, frog → cat at 61 %."."""
    changes = winner_changes(probabilities)
    if not changes:
        return f"{CLASS_NAMES[int(np.argmax(probabilities[0]))]} leads at every ratio."
    return (
        ", ".join(
            f"{CLASS_NAMES[change.before]} → {CLASS_NAMES[change.after]} at {proportion(change.ratio)}"
            for change in changes
        )
        + "."
    )


def describe_sweep(
    probabilities: np.ndarray, ratio: float, a_name: str, b_name: str, *, learned_blends: bool = False
) -> str:
    """Say in words where the winner changes along a sweep, and how far the belief is from the ratio.

    A picture named after a class is measured by that class, any other by the class that it gets unmixed.

    Parameters
    ----------
    probabilities : float array (steps, 10), answers along a `sweep`
    ratio : share of the first picture, 0 to 1; the nearest step is described
    a_name, b_name : what the two pictures are called, for example "cat" and "dog"
    learned_blends : whether the network was trained on blends

    Returns
    -------
    str, two sentences

    Raises
    ------
    SettingsError
        A ratio that is not a number from 0 to 1.
    """
    probabilities = _checked_probabilities(probabilities)
    step = round(checked_ratio(ratio) * (len(probabilities) - 1))
    parents = _parents(probabilities, a_name, b_name)
    gap = _gap(probabilities[step], ratio, a_name, b_name, *parents, learned_blends)
    return f"{describe_changes(probabilities)} {gap}"


def describe_gaps(probabilities: np.ndarray, a_name: str, b_name: str, *, learned_blends: bool = False) -> list[str]:
    """The second sentence of `describe_sweep` at each of its steps."""
    probabilities = _checked_probabilities(probabilities)
    parents, last = _parents(probabilities, a_name, b_name), len(probabilities) - 1
    return [_gap(row, step / last, a_name, b_name, *parents, learned_blends) for step, row in enumerate(probabilities)]


def _parents(probabilities: np.ndarray, a_name: str, b_name: str) -> tuple[int, int]:
    """The classes by which the two pictures are measured."""
    a, b = (
        CLASS_NAMES.index(name) if name in CLASS_NAMES else int(unmixed.argmax())
        for name, unmixed in ((a_name, probabilities[-1]), (b_name, probabilities[0]))
    )
    return a, b


def _gap(beliefs: np.ndarray, ratio: float, a_name: str, b_name: str, a: int, b: int, learned_blends: bool) -> str:
    went_in = f"{proportion(ratio)} {a_name} + {proportion(1 - ratio)} {b_name} in"
    if a == b:
        return f"{went_in}, {percent(beliefs[a])} {CLASS_NAMES[a]} out: both pictures mean the same class."
    came_out = f"{percent(beliefs[a])} {CLASS_NAMES[a]}, {percent(beliefs[b])} {CLASS_NAMES[b]} out"
    meant = "trained on blends, it aims at the shares" if learned_blends else "softmax is not a mixture estimate"
    return f"{went_in}; {came_out}: {meant}."
