"""The ranking of mixes against small cases that can be worked out by hand."""

import json

import numpy as np
import pytest
from app_fakes import belief
from click.testing import CliRunner

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import SettingsError
from cifar_model.pictures.ambiguous import class_pairs, draw_pairs, mid_blends, mix_pictures, rank_mixes
from cifar_model.pictures.mix import MODES, blend

CAT, DOG, FROG, SHIP = (CLASS_NAMES.index(name) for name in ("cat", "dog", "frog", "ship"))
ANSWERS = np.stack([belief(cat=0.9), belief(frog=0.6), belief(frog=0.8), belief(ship=0.3), belief(dog=0.4)])
PARENTS = np.array([(CAT, DOG), (CAT, DOG), (DOG, CAT), (SHIP, DOG), (DOG, FROG)])


def test_a_third_class_that_wins_comes_first_and_a_pair_but_once():
    assert rank_mixes(ANSWERS, PARENTS) == [2]  # the surer frog of the two made of cat and dog


def test_least_sure_first():
    assert rank_mixes(ANSWERS, PARENTS, by="unsure") == [3, 4, 1]


def test_largest_set_first_and_of_equal_ones_the_least_sure():
    sets = np.zeros((5, 10), bool)
    for row, size in enumerate((9, 1, 2, 4, 4)):
        sets[row, :size] = True
    assert rank_mixes(ANSWERS, PARENTS, sets=sets, by="many") == [0, 3, 4]


def test_what_cannot_be_ranked_says_so():
    with pytest.raises(SettingsError, match="no answer sets"):
        rank_mixes(ANSWERS, PARENTS, by="many")
    with pytest.raises(SettingsError, match="third, unsure, many"):
        rank_mixes(ANSWERS, PARENTS, by="beauty")
    with pytest.raises(ValueError, match="Received"):
        rank_mixes(ANSWERS, PARENTS[:3])
    assert rank_mixes(np.empty((0, 10)), np.empty((0, 2), int)) == []


def test_mid_blends_are_those_of_blending():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    mixes = mid_blends([(0, 1), (2, 0)])
    assert len(mixes) == 2 * len(MODES) * 3
    mixed = mix_pictures(pictures, mixes)
    for mix, frame in zip(mixes, mixed, strict=True):
        np.testing.assert_array_equal(frame, blend(pictures[mix.a], pictures[mix.b], mix.ratio, mode=mix.mode))
    assert mix_pictures(pictures, []).shape == (0, 32, 32, 3)


def test_pairs_are_drawn_of_each_two_classes():
    labels = np.repeat(np.arange(10), 5)
    pairs = draw_pairs(labels, 2, seed=3)
    assert pairs == draw_pairs(labels, 2, seed=3) != draw_pairs(labels, 2, seed=4)
    assert sorted((labels[a], labels[b]) for a, b in pairs) == sorted(2 * class_pairs())
    assert len(draw_pairs(np.array([0, 1, 1]), 1)) == 1


def test_command_line_ranks_the_samples(random_model):
    from cifar_model.cli.blend import blend as command

    def run(*arguments):
        return CliRunner().invoke(command, [*arguments, "--model", str(random_model)])

    mixes = json.loads(run("--ambiguous", "unsure", "--json").stdout)["mixes"]
    assert len(mixes) == 45 and len({(mix["a"], mix["b"]) for mix in mixes}) == 45
    assert [mix["probability"] for mix in mixes] == sorted(mix["probability"] for mix in mixes)
    third = json.loads(run("--ambiguous", "third", "--json").stdout)["mixes"]
    assert all(mix["class"] not in (mix["a"], mix["b"]) for mix in third)
    assert run("--ambiguous", "unsure", "cat", "dog").exit_code == 2
    assert run("cat").exit_code == 2
    assert isinstance(run("--ambiguous", "many").exception, SettingsError)  # this model has no sets
