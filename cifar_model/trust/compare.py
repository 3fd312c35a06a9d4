"""Where two models disagree."""

from dataclasses import dataclass, replace

import numpy as np

from cifar_model.trust.report import Report


@dataclass(frozen=True)
class Comparison:
    """Two models on the same test images: indexes of those where their answers differ, the surest pair first.

    first_right : only the first is right; second_right : only the second; both_wrong : in different ways
    agree : how many they answer alike
    """

    first_right: np.ndarray
    second_right: np.ndarray
    both_wrong: np.ndarray
    agree: int


def in_order_of(first: Report, second: Report) -> Report | None:
    """`second` with its answers in the order of the first's; None where they are not on the same test images.

    Pictures are told by their content; of answers without fingerprints, which older versions kept, by their order.
    """
    ours, theirs = first.answers, second.answers
    if ours is None or theirs is None:
        return None
    if ours.fingerprints is not None and theirs.fingerprints is not None:
        places = ours.places(theirs.fingerprints)
        if len(ours.labels) != len(theirs.labels) or (places < 0).any():
            return None
        theirs = theirs.taken(places)
    return replace(second, answers=theirs) if np.array_equal(ours.labels, theirs.labels) else None


def compare(first: Report, second: Report) -> Comparison | None:
    """Where two models disagree, by the order of the first's answers; None unless both answered the same pictures."""
    other = in_order_of(first, second)
    if other is None or first.answers is None:
        return None
    truth, a, b = first.answers.labels, first.predicted, other.predicted
    ours, theirs = first.probabilities, other.probabilities
    if a is None or b is None or ours is None or theirs is None:
        return None
    sure = ours.max(axis=1) + theirs.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    differ = order[(a != b)[order]]
    right_a, right_b = (a == truth)[differ], (b == truth)[differ]
    return Comparison(differ[right_a], differ[right_b], differ[~right_a & ~right_b], int((a == b).sum()))
