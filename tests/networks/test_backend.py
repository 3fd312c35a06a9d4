"""A backend of Keras's that is not here is told before anything is begun."""

import subprocess
import sys

import pytest
from click.testing import CliRunner
from helpers import REPOSITORY

from cifar_model.__main__ import main
from cifar_model.errors import SettingsError
from cifar_model.networks.backend import check_backend, on_tensorflow
from cifar_model.runs.start import start_run
from cifar_model.training.settings import Settings


@pytest.mark.parametrize("name", ["jux", "no/name"])
def test_no_run_is_begun_on_a_backend_that_is_not_here(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path / "runs"))
    with pytest.raises(SettingsError, match=f"KERAS_BACKEND is '{name}', which can't be imported here"):
        start_run(Settings(network="seed-cnn", data="mini"), "x")
    told = CliRunner().invoke(main, ["train", "--network", "seed-cnn", "--data", "mini", "--run", "x"])
    assert told.exit_code == 2 and "Remove the setting" in told.stderr
    assert not (tmp_path / "runs").exists()


def test_tensorflow_is_here(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    check_backend()
    for name in ("tensorflow", ""):
        monkeypatch.setenv("KERAS_BACKEND", name)
        check_backend()
        assert on_tensorflow()


def test_a_question_to_such_a_backend_is_one_line(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jux")
    command = [sys.executable, "-m", "cifar_model", "classify", "assets/samples/cat.webp"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("Error: KERAS_BACKEND is 'jux'") and len(done.stderr.splitlines()) == 1
