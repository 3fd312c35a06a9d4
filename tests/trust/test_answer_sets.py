"""Answer sets, against a plain loop, a simulation and closed forms."""

import numpy as np
import pytest

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ModelError, SettingsError
from cifar_model.trust.answer_sets import LEVELS, answer_sets, describe_set, evaluate_sets, fit_sets, set_scores


def draw(n: int, seed: int, sharpness: float = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a classifier that is right some of the time and too sure."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    logits = rng.normal(0, 1, (n, 10))
    logits[np.arange(n), labels] += sharpness * rng.random(n)
    powers = np.exp(2 * logits)
    return labels, powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("sharpness", [1, 3, 8])  # 30 %, 60 % and 85 % right
def test_sets_keep_their_promise_however_good_the_classifier(sharpness):
    held = []
    for seed in range(40):
        labels, probabilities = draw(3000, seed, sharpness)
        sets = fit_sets(labels[:1000], probabilities[:1000])
        for level in LEVELS:
            members = answer_sets(probabilities[1000:], sets, level)
            held.append((level, evaluate_sets(labels[1000:], members)["coverage"]))
    for level in LEVELS:
        assert np.mean([share for at, share in held if at == level]) == pytest.approx(level / 100, abs=0.004)


def test_where_single_answers_do_better_than_promised_the_least_sure_get_no_answer():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 4000)
    sure = rng.uniform(0.5, 1, 4000)
    probabilities = np.repeat((1 - sure)[:, None] / 9, 10, axis=1)
    said = np.where(rng.random(4000) < sure**0.2, labels, (labels + 1) % 10)  # 95 % right, the surer the more often
    probabilities[np.arange(4000), said] = sure
    members = answer_sets(probabilities, fit_sets(labels, probabilities), 90)
    sizes = members.sum(axis=1)
    assert set(sizes) == {0, 1} and members[np.arange(4000), labels].mean() == pytest.approx(0.9, abs=0.002)
    assert sure[sizes == 0].max() < sure[sizes == 1].min()


def test_scores_equal_a_plain_loop():
    _, probabilities = draw(200, 1)
    found = set_scores(probabilities, 0.1, 2)
    for row, scores in zip(probabilities, found, strict=True):
        order = sorted(range(10), key=lambda c: -row[c])
        before = 0.0
        for rank, c in enumerate(order, start=1):
            expected = 1 - row[c] if rank == 1 else 1 + before + 0.1 * max(0, rank - 2)
            assert scores[c] == pytest.approx(expected)
            before += row[c]


def test_threshold_is_the_nineteenth_of_nineteen_at_95():
    # ceil(0.95 · (19 + 1)) = 19: the largest of 19 scores; at 99 % there are too few, so nothing is ruled out.
    probabilities = np.full((19, 10), 0.01)
    probabilities[:, 4] = np.linspace(0.5, 0.9, 19)
    sets = fit_sets(np.full(19, 4), probabilities)
    assert sets["levels"]["95"]["threshold"] == pytest.approx(0.5)
    assert sets["levels"]["90"]["threshold"] == pytest.approx(1 - np.linspace(0.5, 0.9, 19)[1])
    assert answer_sets(probabilities, sets, 99).all()


def test_sets_hold_the_most_probable_and_grow_with_the_level():
    labels, probabilities = draw(2000, 2)
    sets = fit_sets(labels, probabilities)
    by_level = [answer_sets(probabilities, sets, level) for level in LEVELS]
    for lower, higher in zip(by_level, by_level[1:], strict=False):
        assert (higher >= lower).all() and higher.sum() > lower.sum()
    for row, members in zip(probabilities, by_level[1], strict=True):
        assert set(np.argsort(-row)[: members.sum()]) == set(np.flatnonzero(members))


def test_evaluation_counts():
    members = np.zeros((4, 10), bool)
    members[0, [3, 5]] = members[1, 3] = members[2] = True
    found = evaluate_sets(np.array([3, 5, 5, 5]), members)
    assert (found["coverage"], found["mean_size"]) == (0.5, 13 / 4)
    assert found["sizes"] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found["classes"]["cat"] == 2 and found["classes"]["dog"] == 11 / 3 and found["classes"]["ship"] is None


def test_sets_in_words():
    members = np.array([name in ("cat", "dog") for name in CLASS_NAMES])
    assert describe_set(members, 95) == "cat or dog (95 %)"
    members[CLASS_NAMES.index("deer")] = True
    assert describe_set(members, 99) == "cat, deer or dog (99 %)"
    assert describe_set(np.zeros(10, bool), 90) == "no class is sure enough (90 %)"
    assert describe_set(np.ones(10, bool), 99) == "any of the ten classes (99 %)"


def test_what_can_not_be_done_is_said():
    labels, probabilities = draw(10, 0)
    sets = fit_sets(labels, probabilities)
    with pytest.raises(SettingsError, match="90, 95 and 99 %. Received: 80"):
        answer_sets(probabilities, sets, 80)
    with pytest.raises(ModelError, match="lack something"):
        answer_sets(probabilities, {"penalty": 0}, 90)
    with pytest.raises(ValueError, match="Received"):
        fit_sets(labels[:3], probabilities)
