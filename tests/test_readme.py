"""The README is true: its commands run, its Python runs, the files that it names exist."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from helpers import REPOSITORY

from cifar_model.__main__ import main
from cifar_model.storage import assets_dir

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SAMPLES = assets_dir() / "samples"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [w[1:] for w in words if w[:3] == ["python", "-m", "cifar_model"] and "--download" not in w]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a newcomer stands: the samples at their place, a folder of pictures, room for what is written."""
    folder = tmp_path_factory.mktemp("newcomer")
    shutil.copytree(SAMPLES, folder / "assets" / "samples")
    shutil.copytree(SAMPLES, folder / "holiday", ignore=shutil.ignore_patterns("*.md"))
    return folder


@pytest.mark.training
def test_every_command_runs(folder, tiny_cifar10, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CIFAR10_DIR", str(tiny_cifar10))
    monkeypatch.setenv("CIFAR_LAB_MAX_RUNS", "2")
    # Beside other tests a training of the idle class, as those of a sweep are, would wait for ever.
    monkeypatch.delattr(os, "SCHED_IDLE", raising=False)
    assert len(commands()) >= 8
    for arguments in commands():  # in this process: starting TensorFlow for each of them takes longer than they do
        result = CliRunner().invoke(main, arguments[2:])
        if arguments[2:4] == ["train", "--resume"]:  # of a run that the line above it has finished
            assert result.exit_code == 1 and "is finished" in result.stderr
        else:
            assert result.exit_code == 0, (arguments, result.output, result.exception)
            assert result.stdout
    assert {"answers.csv", "answers.png", "mix.svg"} <= {path.name for path in folder.iterdir()}


def test_the_python_runs(folder):
    assert blocks("python")
    for block in blocks("python"):
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-c", block]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")
        assert result.returncode == 0, result.stderr
        assert result.stdout


def test_every_file_it_names_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (REPOSITORY / link).exists()]
    assert not missing


def test_the_networks_table_says_what_the_cards_say():
    for name in ("lab-net", "mix-net", "seed-cnn"):
        card = json.loads((assets_dir() / "models" / name / "card.json").read_text(encoding="utf-8"))
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"{100 * card['scores']['test_accuracy']:.1f} %" in row
        assert f"{card['parameters']:,}" in row
