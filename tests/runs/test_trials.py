"""The trials of a sweep, spread out from lists and ranges, against itertools and plain arithmetic."""

import itertools

import numpy as np
import pytest

from cifar_model.errors import SettingsError
from cifar_model.runs.trials import FIELDS, MAX_TRIALS, Span, expand, read_values
from cifar_model.training.settings import LIMITS, Settings


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        ("learning_rate", "1e-3,3e-3, 1e-2", [0.001, 0.003, 0.01]),
        ("learning_rate", "1e-3,0.001,1e-3", [0.001]),
        ("learning_rate", "0.5..0.5", [0.5]),
        ("seed", "0..2", [0, 1, 2]),
        ("seed", "7", [7]),
        ("epochs", "5,2,5", [5, 2]),
        ("network", "seed-cnn,lab-net", ["seed-cnn", "lab-net"]),
        ("mixup", "0,.5", [0.0, 0.5]),
    ],
)
def test_lists_and_ranges(field, text, values):
    assert list(read_values(field, text)) == values


def test_a_range_of_numbers_is_drawn_from():
    assert read_values("learning_rate", "1e-4..1e-1") == Span(1e-4, 1e-1, log=True)
    assert read_values("dropout", "0..0.5") == Span(0.0, 0.5, log=False)


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("learning_rate", "1e-3,fast", "'fast' is not a number: give a list like"),
        ("learning_rate", "", "'' is not a number"),
        ("learning_rate", "1e-3,7", "from 1e-06 to 2.0"),
        ("learning_rate", "1e-3,nan", "learning_rate is nan"),
        ("learning_rate", "1e-3..7", "learning_rate is 7.0"),
        ("learning_rate", "1e-1..1e-3", "from the smaller to the larger"),
        ("learning_rate", "nan..1", "from the smaller to the larger"),
        ("fraction", "50", "Did you mean 0.5"),
        ("seed", "1.5", "'1.5' is not a whole number"),
        ("seed", "0..2,5", "not a whole number"),
        ("seed", "0..99999999999999999999", "seed is 99999999999999999999"),
        ("seed", "-1..2", "seed is -1"),
        ("network", "seed-cnn,resnet", "Unknown network 'resnet'"),
        ("network", "seed-cnn,", "Unknown network ''"),
    ],
)
def test_values_that_are_none(field, text, said):
    with pytest.raises(SettingsError) as caught:
        read_values(field, text)
    assert said in str(caught.value)


def test_every_number_and_every_choice_can_vary():
    assert set(FIELDS) == (set(LIMITS) - {"blocks", "filters"}) | {"network", "recipe", "optimizer", "precision"}


def test_a_grid_is_the_product():
    texts = {"network": "seed-cnn,lab-net", "learning_rate": "1e-3,1e-2", "seed": "0..2", "epochs": "3"}
    trials = expand({"data": "mini"}, {field: read_values(field, text) for field, text in texts.items()})
    wanted = itertools.product(("seed-cnn", "lab-net"), (1e-3, 1e-2), range(3))
    assert trials == [
        Settings(network=network, learning_rate=rate, seed=seed, epochs=3, data="mini")
        for network, rate, seed in wanted
    ]


def test_what_was_not_given_comes_from_each_trials_recipe():
    quick, full = expand({"network": "seed-cnn"}, {"recipe": ["quick", "full"]})
    assert (quick.epochs, full.epochs) == (6, 60)


def test_a_random_search_draws_the_same_again_and_nothing_twice():
    varied = {field: read_values(field, text) for field, text in {"optimizer": "adam,sgd", "seed": "0..4"}.items()}
    drawn = [expand({}, varied, search="random", samples=10, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    pairs = {(trial.optimizer, trial.seed) for trial in drawn[0]}
    assert pairs == set(itertools.product(("adam", "sgd"), range(5)))  # ten of ten


def test_learning_rates_are_drawn_uniformly_in_their_logarithm_and_others_uniformly():
    varied = {"learning_rate": Span(1e-4, 1e-1, log=True), "fraction": Span(0.2, 0.6, log=False), "seed": range(10**6)}
    trials = expand({}, varied, search="random", samples=MAX_TRIALS)
    rates = np.array([trial.learning_rate for trial in trials])
    shares = np.array([trial.fraction for trial in trials])
    assert 1e-4 <= rates.min() < 2e-4 and 5e-2 < rates.max() <= 1e-1
    assert np.log10(rates).mean() == pytest.approx(-2.5, abs=0.2)  # half of them below 0.003
    assert shares.mean() == pytest.approx(0.4, abs=0.03) and 0.2 <= shares.min() and shares.max() <= 0.6
    assert all(rate == float(f"{rate:.4g}") for rate in rates)


def test_a_drawn_number_stays_within_its_range():
    span = Span(0.10004, 0.10006, log=False)
    assert {span.draw(np.random.default_rng(seed)) for seed in range(20)} == {0.10004, 0.10006}


@pytest.mark.parametrize(
    ("varied", "options", "said"),
    [
        ({}, {}, "Nothing varies"),
        ({"seed": [1], "epochs": [2]}, {}, "Nothing varies"),
        ({"seed": range(MAX_TRIALS + 1)}, {}, "These are 201 trainings, and a sweep may have 200"),
        ({"seed": range(2**31), "epochs": range(1, 201)}, {}, "429,496,729,600 trainings"),
        ({"learning_rate": Span(1e-3, 1e-1, log=True)}, {}, "--learning-rate is a range of numbers, and a grid needs"),
        ({"seed": range(3)}, {"search": "random", "samples": 4}, "there are 3 different trainings"),
        ({"seed": range(3)}, {"search": "random", "samples": 0}, "from 1 to 200 trainings: --samples is 0"),
        ({"seed": range(999)}, {"search": "random", "samples": 201}, "--samples is 201"),
        ({"dropout": Span(0.1, 0.1001, log=False)}, {"search": "random", "samples": 50}, "Only 2 different trainings"),
        ({"seed": [0, 2**31]}, {}, "seed is 2147483648"),
    ],
)
def test_sweeps_that_are_none(varied, options, said):
    with pytest.raises(SettingsError) as caught:
        expand({}, varied, **options)
    assert said in str(caught.value)


def test_as_many_as_may_be():
    assert (
        len(expand({}, {"seed": range(MAX_TRIALS)}))
        == MAX_TRIALS
        == len(expand({}, {"seed": range(MAX_TRIALS)}, search="random", samples=MAX_TRIALS))
    )
