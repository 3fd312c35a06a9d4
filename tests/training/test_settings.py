"""Settings: limits, defaults from the recipe, and the command line that repeats them."""

import pytest
from click.testing import CliRunner

from cifar_model.__main__ import main
from cifar_model.errors import SettingsError
from cifar_model.networks.choices import NETWORKS, RECIPES
from cifar_model.training.recipes import Recipe, resolution_at, schedule_factor
from cifar_model.training.settings import LIMITS, Settings


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_admitted_defaults(network, recipe):
    settings = Settings(network=network, recipe=recipe)
    assert settings.epochs == settings.details.epochs
    assert Settings.from_dict(settings.to_dict()) == settings
    assert settings.to_argv() == ["--network", network, "--recipe", recipe]


def test_the_origins_recipe():
    settings = Settings(network="seed-cnn", recipe="seed")
    assert (settings.optimizer, settings.batch_size, settings.epochs, settings.augment) == ("adam", 32, 15, False)


def test_argv_names_what_differs():
    settings = Settings(
        network="custom", recipe="quick", epochs=2, augment=False, filters=(8, 16), deterministic=True, fraction=0.1
    )
    assert settings.to_argv()[4:] == [
        "--epochs", "2", "--no-augment", "--fraction", "0.1", "--deterministic", "--filters", "8,16",
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["epochs", "batch_size", "learning_rate", "fraction", "validation", "dropout"])
def test_numbers_outside_their_limits_are_refused(field):
    low, high = LIMITS[field]
    whole = isinstance(low, int)
    for value in (low - 1, high + 1, float("nan"), "3", True, None if field in ("fraction", "dropout") else "x"):
        with pytest.raises(SettingsError, match=field):
            Settings(**{field: value})
    assert getattr(Settings(**{field: low}), field) == low
    if whole:
        with pytest.raises(SettingsError, match="whole number"):
            Settings(**{field: low + 0.5})


@pytest.mark.parametrize("filters", [(), (1,), (8,) * 5, (8, 999), (8, "x")])
def test_custom_filters_are_checked(filters):
    with pytest.raises(SettingsError):
        Settings(network="custom", filters=filters)


def test_unknown_names_are_refused():
    with pytest.raises(SettingsError, match="lab-net"):
        Settings(network="resnet")
    with pytest.raises(SettingsError, match="colour"):
        Settings.from_dict({"colour": "red"})


@pytest.mark.parametrize(
    "options, words",
    [
        (["--epochs", "0"], "epochs is 0"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
        (["--filters", "8,x"], "not a list"),
        (["--network", "vgg"], "vgg"),
    ],
)
def test_the_command_line_refuses_with_exit_code_2(options, words):
    result = CliRunner().invoke(main, ["train", *options])
    assert result.exit_code == 2
    assert words in result.output


def test_schedules():
    linear = Recipe(1, 8, 1.0, "sgd", augment=False, schedule="linear", warmup=0.5)
    assert [schedule_factor(linear, p) for p in (0, 0.25, 0.5, 0.75, 1)] == [0, 0.5, 1, 0.5, 0]
    cosine = Recipe(1, 8, 1.0, "sgd", augment=False, schedule="cosine")
    assert [round(schedule_factor(cosine, p), 6) for p in (0, 0.5, 1)] == [1, 0.5, 0]
    constant = Recipe(1, 8, 1.0, "sgd", augment=False, schedule="constant")
    assert schedule_factor(constant, 0.99) == 1


def test_resolutions():
    recipe = Recipe(1, 8, 1.0, "sgd", augment=False, resolutions=((0.5, 16), (1.0, 32)))
    assert [resolution_at(recipe, p) for p in (0, 0.49, 0.5, 1.0)] == [16, 16, 32, 32]


def test_blends_are_learned_from_whole_pictures_and_their_own_soft_targets():
    plain, blends = Settings(recipe="full"), Settings(recipe="full", mixup=1.0)
    assert plain.details.cutout and plain.details.label_smoothing
    assert (blends.details.cutout, blends.details.label_smoothing) == (0, 0)
    assert blends.details.resolutions == plain.details.resolutions and blends.epochs == plain.epochs
