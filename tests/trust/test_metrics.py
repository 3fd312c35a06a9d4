"""Metrics against scikit-learn, and against closed forms where it has none."""

import math

import numpy as np
import pytest

from cifar_model.trust.calibration import (
    calibrate,
    expected_calibration_error,
    fit_calibration,
    fit_temperature,
    reliability_bins,
    rescale,
)
from cifar_model.trust.metrics import (
    accuracy_score,
    confusion_matrix,
    cross_entropy_loss,
    precision_recall,
)


@pytest.fixture(params=[np.float32, np.float64])
def answers(request):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 2000)
    p = rng.dirichlet(np.full(10, 0.3), 2000)
    p[np.arange(1000), y[:1000]] += 1
    return y, (p / p.sum(1, keepdims=True)).astype(request.param)


def test_scores_equal_scikit_learns(answers):
    oracle = pytest.importorskip("sklearn.metrics", reason="scikit-learn is a development dependency")
    y, p = answers
    guess = p.argmax(1)
    assert accuracy_score(y, guess) == oracle.accuracy_score(y, guess)
    loss = oracle.log_loss(y, p, labels=range(10))
    assert cross_entropy_loss(y, p) == pytest.approx(loss, rel=1e-5)
    confusion = confusion_matrix(y, guess)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, oracle.confusion_matrix(y, guess, labels=range(10)))
    precision, recall = precision_recall(confusion)
    expected = oracle.precision_recall_fscore_support(y, guess, labels=range(10))
    np.testing.assert_allclose(precision, expected[0])
    np.testing.assert_allclose(recall, expected[1])


def test_rows_are_truth_and_classes_without_answers_count_zero():
    confusion = confusion_matrix(np.array([3, 3]), np.array([3, 5]))
    assert confusion[3, 5] == 1 and confusion[5, 3] == 0
    precision, recall = precision_recall(confusion)
    assert precision[3] == 1 and recall[3] == 0.5
    assert precision[0] == recall[0] == 0 and np.isfinite([*precision, *recall]).all()


def test_a_guesser_loses_ln_10_and_a_hopeless_answer_stays_finite():
    y = np.arange(10)
    assert cross_entropy_loss(y, np.full((10, 10), 0.1)) == pytest.approx(math.log(10))
    assert cross_entropy_loss(y, np.eye(10, dtype=np.float32)) == 0
    wrong = cross_entropy_loss(y, np.roll(np.eye(10, dtype=np.float32), 1, axis=0))
    assert wrong == pytest.approx(-math.log(np.finfo(np.float32).eps), rel=1e-6)


def test_calibration_error_in_closed_form():
    # Always 80 % sure and right 6 times of 10: the gap is 0.2 however it is cut (equal confidences).
    p = np.full((10, 10), 0.2 / 9)
    p[:, 0] = 0.8
    y = np.array([0] * 6 + [1] * 4)
    assert expected_calibration_error(y, p, bins=1) == pytest.approx(0.2)
    # Two bins of equal number: 0.5 sure and never right, 1.0 sure and always right.
    q = np.zeros((8, 10))
    q[:4, :2] = 0.5
    q[4:, 3] = 1
    y = np.array([9] * 4 + [3] * 4)
    assert expected_calibration_error(y, q, bins=2) == pytest.approx(0.25)
    assert expected_calibration_error(y, q, bins=100) == pytest.approx(0.25)


def test_calibration_error_equals_a_plain_loop(answers):
    y, p = answers
    order = np.argsort(p.max(1), kind="stable")
    expected = 0.0
    for part in np.array_split(order, 15):
        sure = np.mean([float(p[i].max()) for i in part])
        right = np.mean([p[i].argmax() == y[i] for i in part])
        expected += len(part) / len(y) * abs(sure - right)
    assert expected_calibration_error(y, p) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy_score(np.array([], int), np.array([], int)),
        lambda: accuracy_score(np.array([1, 2]), np.array([1])),
        lambda: accuracy_score(np.array([1.0]), np.array([1])),
        lambda: confusion_matrix(np.array([10]), np.array([1])),
        lambda: confusion_matrix(np.array([1]), np.array([-1])),
        lambda: cross_entropy_loss(np.array([10]), np.full((1, 10), 0.1)),
        lambda: cross_entropy_loss(np.array([1, 2]), np.full((1, 10), 0.1)),
        lambda: expected_calibration_error(np.array([1]), np.full((1, 10), 0.1), 0),
    ],
)
def test_what_does_not_belong_together_is_refused(call):
    with pytest.raises(ValueError, match="Received"):
        call()


def test_temperature_scaling_divides_the_logits():
    logits = np.random.default_rng(0).normal(0, 3, (50, 10))
    for temperature in (0.3, 1.0, 4.0):
        expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum(1, keepdims=True)
        scaled = rescale(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), temperature)
        np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    certain = np.eye(10, dtype=np.float32)
    np.testing.assert_array_equal(rescale(certain, 0.5), certain)


def test_fitted_temperature_undoes_a_known_one_and_beats_its_neighbours():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20_000, 10))
    truth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (truth.cumsum(1) > rng.random((len(truth), 1))).argmax(1)
    sharpened = rescale(truth, 0.4)
    fitted = fit_temperature(labels, sharpened)
    assert abs(fitted - 2.5) < 0.1

    def loss(temperature):
        return cross_entropy_loss(labels, rescale(sharpened, temperature))

    assert loss(fitted) <= min(loss(fitted * 0.99), loss(fitted * 1.01))
    # As well calibrated as the true probabilities are on the same draw of labels.
    error = expected_calibration_error(labels, rescale(sharpened, fitted))
    assert abs(error - expected_calibration_error(labels, truth)) < 0.003


def test_reliability_bins_add_up_to_the_calibration_error(answers):
    y, p = answers
    bins = reliability_bins(y, p)
    assert bins.shape == (15, 3) and bins[:, 2].sum() == len(y) and (np.diff(bins[:, 0]) >= 0).all()
    error = np.average(np.abs(bins[:, 0] - bins[:, 1]), weights=bins[:, 2])
    assert expected_calibration_error(y, p) == pytest.approx(error, rel=1e-6)
    with pytest.raises(ValueError, match="Received"):
        reliability_bins(y, p, 0)


def test_an_even_share_is_taken_out_of_all_classes_before_the_temperature():
    p = np.random.default_rng(0).dirichlet(np.ones(10), 50)
    for share in (0.3, 0.9):
        left = (p - share * p.min(1, keepdims=True)) ** (1 / 1.7)
        np.testing.assert_allclose(rescale(p, 1.7, share), left / left.sum(1, keepdims=True), rtol=1e-9)
    np.testing.assert_array_equal(calibrate(p, {}), p)
    np.testing.assert_array_equal(calibrate(p, {"temperature": 0.6}), rescale(p, 0.6))


def test_an_even_share_undoes_a_mixture_with_the_uniform_distribution():
    """Answers that are sure but for a floor: exactly what label smoothing asks for."""
    p = np.full((1, 10), 0.01)
    p[0, 3] = 0.91
    assert rescale(p, 1.0, 0.98)[0, 3] > 0.998


def test_an_even_share_is_fitted_only_where_it_is_needed():
    rng = np.random.default_rng(2)
    truth = rng.dirichlet(np.full(10, 0.2), 4000)
    labels = (truth.cumsum(1) > rng.random((len(truth), 1))).argmax(1)
    assert fit_calibration(labels, rescale(truth, 1.5))["even_share"] == 0
    smoothed = 0.8 * truth + 0.02  # what label smoothing of 0.2 asks a network to answer
    fitted = fit_calibration(labels, smoothed)
    assert 0.8 < fitted["even_share"] < 1
    one = rescale(smoothed, fit_temperature(labels, smoothed))
    two = calibrate(smoothed, fitted)
    assert cross_entropy_loss(labels, two) < cross_entropy_loss(labels, one) - 0.01
    assert expected_calibration_error(labels, two) < 0.5 * expected_calibration_error(labels, one)
    np.testing.assert_array_equal(two.argmax(1), smoothed.argmax(1))
