"""Distilled images: their files, the search for copies, and the making of them."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import REPOSITORY, make_pictures
from PIL import Image

from cifar_model.__main__ import main
from cifar_model.data.cache import load_cifar10
from cifar_model.data.distilled import mini_card, mini_dir, read_mini
from cifar_model.distilling import frequencies as distilling_frequencies
from cifar_model.distilling import maker as distilling_maker
from cifar_model.distilling.copies import copy_check, nearest_pictures
from cifar_model.distilling.graph import random_places
from cifar_model.distilling.make import distill
from cifar_model.distilling.maker import Maker, _adam, _targets
from cifar_model.distilling.score import score
from cifar_model.distilling.settings import LIMITS, DistillSettings
from cifar_model.distilling.write import write_mini
from cifar_model.errors import DatasetError, ModelError, SettingsError

TINY = {"per_class": 4, "validation_per_class": 2, "iterations": 6}


def random_pictures(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 32, 32, 3), np.uint8)


@pytest.fixture
def fewer_networks(monkeypatch):
    monkeypatch.setattr(distilling_maker, "POOL", 2)
    monkeypatch.setattr(distilling_maker, "OLDEST", 3)


# Files


def test_pictures_come_back_from_their_sheets_as_they_were_written(tmp_path):
    train, validation = random_pictures(10, 3), random_pictures(10, 2, seed=1)
    write_mini(tmp_path / "new", train, validation, {"method": "none"})
    (x, y), (x_val, y_val) = read_mini(tmp_path / "new")
    np.testing.assert_array_equal(x, train.reshape(-1, 32, 32, 3))
    np.testing.assert_array_equal(x_val, validation.reshape(-1, 32, 32, 3))
    assert y.tolist() == [label for label in range(10) for _ in range(3)] and y.dtype == np.int64
    assert np.bincount(y_val).tolist() == [2] * 10 and x.dtype == np.uint8
    assert mini_card(tmp_path / "new") == {"method": "none"}


def test_a_sheet_has_a_row_of_pictures_for_each_class(tmp_path):
    train = random_pictures(10, 3)
    write_mini(tmp_path, train, train, {})
    with Image.open(tmp_path / "train.png") as sheet:
        assert sheet.size == (96, 320)
        np.testing.assert_array_equal(np.asarray(sheet)[7 * 32 : 8 * 32, 64:], train[7, 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        (b"not a picture", "can't be read"),
        (Image.new("RGB", (64, 300)), "64×300"),
        (Image.new("RGB", (40, 320)), "40×320"),
        (Image.new("L", (64, 320)), r"\(L\)"),
    ],
)
def test_what_is_no_sheet_is_refused(tmp_path, content, message):
    if isinstance(content, bytes):
        (tmp_path / "train.png").write_bytes(content)
    elif content:
        content.save(tmp_path / "train.png")
    with pytest.raises(DatasetError, match=message):
        read_mini(tmp_path)


def test_a_missing_card_says_so(tmp_path):
    with pytest.raises(ModelError):
        mini_card(tmp_path)


def test_reading_pictures_loads_no_tensorflow():
    code = "import sys, cifar_model.distilling.make; print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


# Copies


def brute_distance(picture: np.ndarray, other: np.ndarray, shift: int) -> float:
    """The definition, one alignment at a time, in double precision."""

    def plain(part):
        part = part.astype(float) - part.mean(axis=(0, 1))
        return part / np.sqrt((part**2).mean())

    size = 32 - 2 * shift
    mine = plain(picture[shift : shift + size, shift : shift + size])
    best = 9.0
    for view in (other, other[:, ::-1]):
        for top in range(2 * shift + 1):
            for left in range(2 * shift + 1):
                part = plain(view[top : top + size, left : left + size])
                best = min(best, np.sqrt(((mine - part) ** 2).mean()))
    return best


def test_nearest_pictures_are_those_of_a_search_through_all():
    bank, _ = make_pictures(3, seed=3)
    pictures, _ = make_pictures(1, seed=4)
    index, distance = nearest_pictures(pictures, bank, shift=2, candidates=30)
    every = np.array([[brute_distance(p, b, 2) for b in bank] for p in pictures])
    np.testing.assert_allclose(distance, every.min(axis=1), atol=1e-4)
    np.testing.assert_array_equal(index, every.argmin(axis=1))


def test_a_copy_is_found_though_shifted_mirrored_and_recoloured():
    bank, _ = make_pictures(4, seed=5)
    copy = np.roll(bank[17], (2, -3), axis=(0, 1))[:, ::-1] * 0.5 + np.array([20, 60, 0])
    index, distance = nearest_pictures(np.rint(copy).astype(np.uint8)[None], bank, candidates=5)
    assert index.tolist() == [17] and distance[0] < 0.05
    _, itself = nearest_pictures(bank[17:18], bank)
    _, other = nearest_pictures(bank[17:18], bank, exclude=np.array([17]))
    assert itself[0] < 1e-3 < other[0]


def test_the_check_tells_copies_from_pictures_of_their_own():
    bank, _ = make_pictures(6, seed=6)
    assert copy_check(bank[:10], bank)["farther"] == 0
    found = copy_check(random_pictures(10), bank)
    assert found["farther"] == 1 and found["to_nearest"]["least"] > found["nearest_to_its_nearest"]["median"]


# Making them


def test_frequencies_are_an_orthonormal_change_of_basis():
    pictures = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    frequencies = distilling_frequencies.frequencies(pictures)
    np.testing.assert_allclose(distilling_frequencies.frequencies(frequencies, back=True), pictures, atol=1e-5)
    np.testing.assert_allclose((frequencies**2).sum(), (pictures**2).sum(), rtol=1e-5)
    grey = distilling_frequencies.frequencies(np.ones((32, 32, 3), np.float32))
    assert np.flatnonzero(np.abs(grey) > 1e-4).tolist() == [0]  # brightness at frequency 0 alone


def test_adam_steps_as_in_keras():
    from cifar_model.networks.backend import import_keras

    keras = import_keras()
    rng = np.random.default_rng(0)
    weights = rng.normal(size=50).astype(np.float32)
    variable, optimizer = keras.Variable(weights), keras.optimizers.Adam(0.01, epsilon=1e-8)
    first, second = np.zeros((2, 50), np.float32)
    for turn in range(1, 6):
        gradient = rng.normal(size=50).astype(np.float32)
        _adam(weights, first, second, gradient, 0.01, turn)
        optimizer.apply([gradient], [variable])
    np.testing.assert_allclose(weights, keras.ops.convert_to_numpy(variable), atol=1e-5)


def test_networks_answer_as_seed_cnn_with_the_same_weights(tiny_cifar10, tmp_path, fewer_networks):
    from cifar_model.networks.build import build_network

    made = maker(tiny_cifar10, tmp_path)
    weights = made.graph._split(made.pool[1, 0])
    network = build_network("seed-cnn")
    names = [layer for number in (1, 2, 3) for layer in (f"conv{number}", f"norm{number}")]
    images = made.images[:50]
    _, statistics = made.graph._features(weights, made._scaled(images))
    for number, name in enumerate(names):
        layer, values = network.get_layer(name), [w.numpy() for w in weights[2 * number : 2 * number + 2]]
        layer.set_weights(values + [s.numpy() for s in statistics[number // 2]] * (number % 2))
    import keras

    features = keras.Model(network.input, network.get_layer("flatten").output).predict(images, verbose=0)
    ours, _ = made.graph._features(weights, made._scaled(images))
    np.testing.assert_allclose(ours, features, atol=2e-3)


def maker(tiny_cifar10, tmp_path, iterations=6, per_class=4, **values):
    (images, labels), _ = load_cifar10(tiny_cifar10)
    values = {"seed": (0, 0), "checkpoint": tmp_path / "checkpoint.npz", "identity": "a"} | values
    return Maker(np.asarray(images), labels, per_class, iterations, **values)


def test_pictures_lower_their_own_error(tiny_cifar10, tmp_path, fewer_networks):
    made = maker(tiny_cifar10, tmp_path, 40)
    made.pixels[:] = np.random.default_rng(0).normal(size=made.pixels.shape)  # they know nothing yet

    def error():
        rng = np.random.default_rng(1)
        rows, columns = random_places(40, rng)
        network = made.graph.new_network(rng)[0]
        real = made._scaled(made.images[:200])
        targets = np.eye(10, dtype=np.float32)[made.labels[:200]]
        pictures = made.pixels.reshape(-1, 32, 32, 3)
        loss, _ = made.graph.improve(network, pictures, _targets(4), rows, columns, real, targets)
        return float(loss)

    before, start = error(), made.pixels.copy()
    pictures = made.run(lambda record: None)
    assert error() < 0.9 * before and np.abs(made.pixels - start).max() > 0.1
    assert pictures.shape == (10, 4, 32, 32, 3) and pictures.dtype == np.uint8


def test_the_gradient_is_that_of_finite_differences(tiny_cifar10, tmp_path, fewer_networks):
    made = maker(tiny_cifar10, tmp_path)
    rng = np.random.default_rng(2)
    network, (rows, columns) = made.graph.new_network(rng)[0], random_places(40, rng)
    pictures = made.pixels.reshape(-1, 32, 32, 3)
    real, answers = made._scaled(made.images[:100]), np.eye(10, dtype=np.float32)[made.labels[:100]]
    rest = (_targets(4), rows, columns, real, answers)
    _, gradient = made.graph.improve(network, pictures, *rest)
    # Along the gradient's own sign; photographs' use of the pictures' statistics is not followed, so nearly.
    step = 1e-3 * np.sign(gradient.numpy())
    up, down = (float(made.graph.improve(network, pictures + s, *rest)[0]) for s in (step, -step))
    assert (up - down) / (2 * np.abs(gradient.numpy() * step).sum()) == pytest.approx(1, abs=0.5)


def test_a_broken_off_run_goes_on_to_the_same_pictures(tiny_cifar10, tmp_path, fewer_networks):
    straight = maker(tiny_cifar10, tmp_path, checkpoint=tmp_path / "other.npz").run(lambda record: None)

    class Broken(Exception):
        pass

    def break_off(record):
        if record["done"] == 3:
            raise Broken

    with pytest.raises(Broken):
        maker(tiny_cifar10, tmp_path).run(break_off)
    seen = []
    resumed = maker(tiny_cifar10, tmp_path).run(lambda record: seen.append(record["done"]))
    assert seen == [4, 5, 6]
    # Equal but for the order in which threads add up.
    assert np.abs(resumed.astype(int) - straight).max() <= 1


def test_checks_that_were_broken_off_are_made_up_for(tiny_cifar10, tmp_path, fewer_networks):
    data, settings = load_cifar10(tiny_cifar10), DistillSettings(**TINY)

    def broken(train, validation):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(data, tmp_path, settings, describe=broken)
    before = (tmp_path / "train.png").read_bytes()
    card = distill(data, tmp_path, settings, describe=lambda train, validation: {"shape": train.shape})
    assert card["shape"] == (10, 4, 32, 32, 3) and (tmp_path / "train.png").read_bytes() == before
    with pytest.raises(SettingsError, match="finished"):
        distill(data, tmp_path, settings)


def test_the_order_of_the_data_makes_no_difference(tiny_cifar10, tmp_path, fewer_networks):
    (images, labels), test = load_cifar10(tiny_cifar10)
    order = np.random.default_rng(3).permutation(len(labels))
    for name, rows in (("one", slice(None)), ("other", order)):
        distill(((images[rows], labels[rows]), test), tmp_path / name, DistillSettings(**TINY))
    for one, other in zip(read_mini(tmp_path / "one"), read_mini(tmp_path / "other"), strict=True):
        # Equal but for the order in which threads add up.
        assert np.abs(one[0].astype(int) - other[0]).max() <= 1


def test_two_processes_do_not_share_a_folder(tiny_cifar10, tmp_path, fewer_networks):
    import filelock

    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(SettingsError, match="Another process"):
        distill(load_cifar10(tiny_cifar10), tmp_path, DistillSettings(**TINY))
    assert not (tmp_path / "train.png").exists()


def test_another_seed_makes_other_pictures(tiny_cifar10, tmp_path, fewer_networks):
    one, two = (maker(tiny_cifar10, tmp_path, seed=(seed, 0)).pixels for seed in (0, 1))
    assert np.abs(one - two).mean() > 0.1


def test_a_checkpoint_of_other_settings_or_a_broken_one_is_refused(tiny_cifar10, tmp_path, fewer_networks):
    maker(tiny_cifar10, tmp_path, 1).run(lambda record: None)
    with pytest.raises(SettingsError, match="other settings or data"):
        maker(tiny_cifar10, tmp_path, identity="b")
    (tmp_path / "checkpoint.npz").write_bytes(b"PK but no archive")
    with pytest.raises(DatasetError, match="begin anew"):
        maker(tiny_cifar10, tmp_path)


def test_the_command_makes_pictures_with_a_card_that_train_can_use(tiny_cifar10, tmp_path, fewer_networks):
    out = tmp_path / "mini"
    argv = ["distill", "--out", str(out), "--data", str(tiny_cifar10), "--no-checks", "--json"]
    for field, value in TINY.items():
        argv += [f"--{field.replace('_', '-')}", str(value)]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    assert card == mini_card(out) and card["per_class"] == {"train": 4, "validation": 2}
    assert card["made_from"] == {"train": "300 training images", "validation": "the 100 others, held out by content"}
    made = {file.name for file in out.iterdir()} - {".lock"}  # the lock's own file is never removed
    assert made == {"card.json", "train.png", "validation.png"}
    (x, y), (x_val, y_val) = read_mini(out)
    assert len(x) == 40 and len(x_val) == 20
    again = CliRunner().invoke(main, argv)
    assert again.exit_code == 2 and "finished pictures" in again.stderr


@pytest.mark.parametrize("field", list(LIMITS))
@pytest.mark.parametrize("value", [-1, 10**10, 1.5, True])
def test_settings_outside_their_limits_are_refused(field, value):
    with pytest.raises(SettingsError, match=f"{field} is {value}.*whole number"):
        DistillSettings(**{field: value})


def test_more_pictures_than_the_files_may_hold_are_refused():
    with pytest.raises(SettingsError, match="170 together; at most 160"):
        DistillSettings(per_class=100, validation_per_class=70)


def test_misuse_ends_with_code_2(tmp_path):
    for argv in (
        ["distill"],
        ["distill", "--out", str(tmp_path), "--per-class", "0"],
        ["distill", "--out", str(tmp_path), "--iterations", "many"],
        ["distill", "--out", str(tmp_path), "--data", "mini"],
    ):
        assert CliRunner().invoke(main, argv).exit_code == 2, argv
    nowhere = CliRunner().invoke(main, ["distill", "--out", str(tmp_path), "--data", str(tmp_path / "none")])
    assert nowhere.exit_code == 1 and "does not exist" in nowhere.stderr


def test_a_class_with_too_few_pictures_is_named_in_numbers(tmp_path, fewer_networks):
    images, labels = make_pictures(3, seed=1)
    with pytest.raises(DatasetError, match="at least 4"):
        distill(((images, labels), (images, labels)), tmp_path / "out", DistillSettings(**TINY))


def test_scores_come_from_a_training_on_these_pictures_alone(tiny_cifar10):
    (images, labels), test = load_cifar10(tiny_cifar10)
    started = time.monotonic()
    accuracy, seconds = score((np.asarray(images[:200]), labels[:200]), test, epochs=6)
    assert accuracy > 0.5 and 0 < seconds < time.monotonic() - started


# What ships


@pytest.mark.skipif(not (mini_dir() / "train.png").exists(), reason="no distilled images in this checkout")
def test_the_shipped_pictures_keep_what_they_promise():
    (x, y), (x_val, y_val) = read_mini()
    card = mini_card()
    assert sum(file.stat().st_size for file in mini_dir().iterdir()) <= 4_000_000
    assert np.bincount(y).tolist() == [card["per_class"]["train"]] * 10
    assert np.bincount(y_val).tolist() == [card["per_class"]["validation"]] * 10
    assert card["scores"]["seed-cnn"]["real_test_accuracy_mean"] >= 0.5
    for found in card["nearest"].values():
        assert found["to_nearest"]["median"] > found["nearest_to_its_nearest"]["median"]
