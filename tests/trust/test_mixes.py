"""How well a network reads a mix, against networks whose answers are known."""

import numpy as np
import pytest

from cifar_model.trust.mixes import draw_pairs, mix_scores


@pytest.fixture
def plain():
    """Images of one grey level each, 20 for a class: its label can be read from its blends with another."""
    labels = np.repeat(np.arange(10), 20)
    images = np.zeros((200, 32, 32, 3), np.uint8)
    images[np.arange(200), 0, labels, 0] = 200  # pixel number c of the first row is bright for class c
    images[:, 5:, :, :] = np.random.default_rng(0).integers(0, 256, (200, 27, 32, 3))
    return images, labels


def reader(images):
    """Reads the shares out of the first row."""
    return images[:, 0, :10, 0] / np.maximum(images[:, 0, :10, 0].sum(axis=1, keepdims=True), 1)


def test_pairs_are_of_two_classes_and_the_same_in_every_order(plain):
    images, labels = plain
    pairs = draw_pairs(images, labels, 50)
    assert pairs.shape == (50, 2) and (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    moved = np.random.default_rng(1).permutation(200)
    np.testing.assert_array_equal(images[moved][draw_pairs(images[moved], labels[moved], 50)], images[pairs])
    with pytest.raises(ValueError, match="two"):
        draw_pairs(images, np.zeros(200, int), 5)


def test_one_that_reads_shares_is_perfect(plain):
    scores = mix_scores(reader, *plain, pairs=60)
    assert scores["share_error"] < 0.005 and scores["parents_mass"] == pytest.approx(1) and scores["top_two"] == 1


def test_one_that_sees_the_larger_share_alone(plain):
    def sure(images):
        return np.eye(10)[reader(images).argmax(axis=1)]

    scores = mix_scores(sure, *plain, pairs=60)
    # Shares of .1 to .9: mean distance to the nearer of 0 and 1 is (2·(.1+.2+.3+.4) + .5) / 9.
    assert scores["share_error"] == pytest.approx(2.5 / 9, abs=0.005)
    assert scores["parents_mass"] == pytest.approx(1)


def test_one_that_knows_nothing(plain):
    scores = mix_scores(lambda images: np.full((len(images), 10), 0.1), *plain, pairs=60)
    assert scores["parents_mass"] == pytest.approx(0.2)
    assert scores["share_error"] == pytest.approx(np.mean(np.abs(np.arange(1, 10) / 10 - 0.1)), abs=1e-6)
