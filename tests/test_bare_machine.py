"""Without CIFAR-10: learning from the distilled images, and homes that can't be written to."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import make_pictures

from cifar_model import storage
from cifar_model.__main__ import main
from cifar_model.data import distilled, find
from cifar_model.data.cache import cache_root, load_cifar10
from cifar_model.data.distilled import mini_counts
from cifar_model.data.find import find_source
from cifar_model.data.sources import MINI
from cifar_model.distilling.write import write_mini
from cifar_model.errors import DatasetError, ModelError
from cifar_model.models.compiled import read_compiled
from cifar_model.models.history import read_history
from cifar_model.networks.choices import NETWORKS, RECIPES
from cifar_model.networks.litert import litert_available
from cifar_model.pictures.fit import load_image
from cifar_model.runs.estimate import estimate_time
from cifar_model.runs.read import read_guesses
from cifar_model.storage import _usable, assets_dir, runs_dir, temporary_folder
from cifar_model.training import finish
from cifar_model.training.settings import Settings, default_settings
from cifar_model.training.train import train


def by_class(per_class, seed):
    pictures, labels = make_pictures(per_class, seed)
    return np.stack([pictures[labels == label] for label in range(10)])


@pytest.fixture
def mini(tmp_path, monkeypatch):
    """Small sheets of pictures that can be learnt, in the place of those that ship; no CIFAR-10 anywhere."""
    folder = tmp_path / "mini"
    monkeypatch.setattr(distilled, "mini_dir", lambda: folder)
    monkeypatch.setattr(find, "keras_folders", lambda: [tmp_path / "keras"])
    card = {"scores": {"seed-cnn": {"real_test_accuracy_mean": 0.5678, "runs": 3}}}
    write_mini(folder, by_class(8, 1), by_class(3, 2), card)
    return folder


def test_found_only_where_it_is_wanted(mini, monkeypatch, tiny_cifar10, tmp_path):
    assert find_source(mini=True).kind == find_source(MINI, mini=True).kind == MINI
    for data in (None, MINI):  # to score on, say
        with pytest.raises(DatasetError, match="Three ways"):
            find_source(data)
        with pytest.raises(DatasetError):
            load_cifar10(data)
    assert find_source(str(tiny_cifar10), mini=True).kind == "parquet"
    monkeypatch.setenv("CIFAR10_DIR", str(tiny_cifar10))
    assert find_source(mini=True).kind == "parquet" and find_source(MINI, mini=True).kind == MINI
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "nowhere"))  # a wrong setting is no wish for other pictures
    with pytest.raises(DatasetError, match="does not exist"):
        find_source(mini=True)


def test_a_checkout_without_them_says_so(mini):
    (mini / "train.png").unlink()
    with pytest.raises(DatasetError, match="not in this checkout"):
        find_source(MINI, mini=True)
    with pytest.raises(DatasetError, match="No CIFAR-10 found"):
        find_source(mini=True)
    assert mini_counts() == (0, 0)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_of_their_own(network, recipe):
    settings = default_settings(network, recipe, MINI)
    assert settings.details.passes > 1 == default_settings(network, recipe).details.passes
    assert settings.to_argv() == ["--network", network, "--recipe", recipe, "--data", "mini"]
    assert Settings.from_dict(settings.to_dict()) == settings


@pytest.mark.compiles
@pytest.mark.training
def test_a_run_on_them(mini, tmp_path):
    settings = Settings(network="seed-cnn", data=MINI, epochs=2, batch_size=50, fraction=0.5)
    records = []
    card = train(settings, tmp_path / "run", report=lambda kind, record: records.append((kind, record))).stored
    assert "calibration" in card["data"].pop("note")
    assert card["data"] == {"source": "distilled images (shipped)", "train": 40, "validation": 30, "test": 0}
    assert set(card["scores"]) == {"validation_accuracy"} and card["calibration"] == {}
    assert "sets" not in card and "scope" not in card and not (tmp_path / "run" / "answers.npz").exists()
    steps = [record["steps"] for kind, record in records if kind == "progress"]
    assert set(steps) == {40 * settings.details.passes // 50}
    assert read_history(tmp_path / "run")["epoch"].tolist() == [1, 2]
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "finished" and "synthetic" in status["message"] and "57 %" in status["message"]
    guesses = read_guesses(tmp_path / "run")
    np.testing.assert_array_equal(guesses.images[3], load_image(assets_dir() / "samples" / "cat.webp"))
    assert guesses.labels.tolist() == list(range(10)) and guesses.probabilities.shape == (10, 10)
    assert (read_compiled(tmp_path / "run") is not None) == litert_available()
    assert not list((tmp_path / "run").glob(".*.tflite"))


@pytest.mark.compiles
@pytest.mark.parametrize("error", [ModelError("No room."), RuntimeError("a converter's own")])
def test_no_run_fails_because_it_cannot_be_compiled(error, tmp_path, monkeypatch):
    def fail(path, *, beside):
        raise error

    notes = []
    directory = SimpleNamespace(path=tmp_path)
    run = SimpleNamespace(directory=directory, report=lambda kind, record: notes.append(record["message"]))
    monkeypatch.setattr(finish, "can_compile", lambda: True)
    monkeypatch.setattr(finish, "compile_model", fail)
    finish.compile_run(run)
    assert "could not be compiled" in notes[-1] and "converter's own" not in notes[-1]


@pytest.mark.training
def test_the_command_learns_from_them_unasked_and_says_so(mini):
    done = CliRunner().invoke(main, ["train", "--network", "seed-cnn", "--epochs", "1", "--run", "unasked"])
    assert done.exit_code == 0, done.output
    assert "CIFAR-10 is not on this machine" in done.stdout and "data --download" in done.stdout
    assert "57 %" in done.stdout and "on synthetic images" in done.stdout
    settings = json.loads((runs_dir() / "unasked" / "settings.json").read_text())
    assert settings["settings"]["data"] == "mini" and "--data mini" in settings["command"]
    assert estimate_time(default_settings("seed-cnn", data=MINI)).measured


def test_a_run_on_cifar10_never_goes_on_with_them(mini, tmp_path):
    with pytest.raises(DatasetError, match="No CIFAR-10"):
        train(Settings(network="seed-cnn", epochs=1), tmp_path / "run")


def test_the_data_command_shows_them(mini, tmp_path):
    done = CliRunner().invoke(main, ["data", "--sheet", str(tmp_path / "sheet.png"), "--per-class", "2"])
    assert done.exit_code == 0, done.output
    assert "not on this machine" in done.stdout and "synthetic" in done.stdout and "57 %" in done.stdout
    assert (tmp_path / "sheet.png").stat().st_size
    answer = json.loads(CliRunner().invoke(main, ["data", "--data", "mini", "--json"]).stdout)
    assert answer["source"]["kind"] == "mini" and answer["train"]["images"] == 80
    assert answer["validation"]["images"] == 30


def test_a_home_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    for name in ("CIFAR_LAB_RUNS", "CIFAR_LAB_CACHE"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(storage.tempfile, "gettempdir", lambda: str(tmp_path))
    _usable.cache_clear()
    home = runs_dir()
    assert not home.is_relative_to(tmp_path)
    _usable.cache_clear()
    monkeypatch.setattr(storage.os, "access", lambda path, mode: False)
    assert runs_dir() == temporary_folder() / "runs"
    assert cache_root().is_relative_to(temporary_folder())
    assert temporary_folder().is_dir() and temporary_folder().parent == tmp_path
    monkeypatch.undo()
    _usable.cache_clear()
