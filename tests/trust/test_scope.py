"""The out-of-scope score and its threshold."""

import numpy as np
import pytest

from cifar_model.trust.outside import outside_pictures
from cifar_model.trust.scope import FALSE_ALARMS, fit_threshold, scope_score


def test_the_score_is_generalised_entropy_between_even_and_certain():
    p = np.random.default_rng(0).dirichlet(np.ones(10), 20)
    wanted = [1 - sum((x * (1 - x)) ** 0.1 for x in row) / (10 * 0.09**0.1) for row in p]
    np.testing.assert_allclose(scope_score(p), wanted, rtol=1e-5)
    np.testing.assert_allclose(scope_score(np.full((1, 10), 0.1)), 0, atol=1e-6)
    np.testing.assert_allclose(scope_score(np.eye(10, dtype=np.float32)), 1)
    assert (np.diff(scope_score(np.array([[1 - 9 * e, *[e] * 9] for e in (0.1, 0.05, 0.01, 1e-6)]))) > 0).all()


def test_rounding_of_a_sure_answer_changes_nothing():
    sure = np.full((3, 10), 1e-9, np.float32)
    sure[:, 4] = np.nextafter(np.float32(1), np.float32([0, 1, 2]))
    assert np.ptp(scope_score(sure)) < 1e-6
    np.testing.assert_allclose(
        scope_score(sure), 1 - 9 * (1e-9**0.1 / (10 * 0.09**0.1)) - 9e-9**0.1 / (10 * 0.09**0.1), atol=1e-6
    )


def test_threshold_flags_the_promised_share():
    rng = np.random.default_rng(1)
    held, new = rng.dirichlet(np.full(10, 0.3), 3000), rng.dirichlet(np.full(10, 0.3), 20000)
    threshold = fit_threshold(held)
    assert (scope_score(held) < threshold).mean() == pytest.approx(FALSE_ALARMS, abs=1e-3)
    assert (scope_score(new) < threshold).mean() == pytest.approx(FALSE_ALARMS, abs=0.012)
    with pytest.raises(ValueError, match="none"):
        fit_threshold(np.zeros((0, 10)))


def test_outside_pictures_are_repeatable_and_varied():
    pictures = outside_pictures(70, seed=3)
    assert pictures.shape == (70, 32, 32, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, outside_pictures(70, seed=3))
    assert len({picture.tobytes() for picture in pictures}) == 70
    assert not np.array_equal(pictures, outside_pictures(70, seed=4))
    assert outside_pictures(0).shape == (0, 32, 32, 3)
