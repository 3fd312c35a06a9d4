"""Where two models disagree."""

from dataclasses import dataclass

import numpy as np

from cifar_model.trust.report import Report


@dataclass(frozen=True)
class Comparison:
    """Two models on the same test pictures: indexes of those where their answers differ, the surest pair first.

    first_right : only the first is right; second_right : only the second; both_wrong : in different ways
    agree : how many they answer alike
    """

    first_right: np.ndarray
    second_right: np.ndarray
    both_wrong: np.ndarray
    agree: int


def compare(first: Report, second: Report) -> Comparison | None:
    """Where two models disagree; None unless both keep their answers, on the same test pictures."""
    if first.answers is None or second.answers is None:
        return None
    truth = first.answers.labels
    if not np.array_equal(truth, second.answers.labels):
        return None
    a, b = first.predicted, second.predicted
    sure = first.probabilities.max(axis=1) + second.probabilities.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    differ = order[(a != b)[order]]
    right_a, right_b = (a == truth)[differ], (b == truth)[differ]
    return Comparison(differ[right_a], differ[right_b], differ[~right_a & ~right_b], int((a == b).sum()))
