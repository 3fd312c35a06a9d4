"""A run whose data lies elsewhere now goes on with --data."""

import shutil

import pytest
from click.testing import CliRunner

from cifar_model.__main__ import main
from cifar_model.models.card import load_card
from cifar_model.storage import runs_dir


@pytest.mark.training
def test_resume_with_data_that_has_moved(tiny_cifar10, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(tiny_cifar10, before)
    invoke = CliRunner().invoke
    options = ["--network", "custom", "--filters", "8", "--batch-size", "64", "--epochs", "1", "--precision", "float32"]
    done = invoke(main, ["train", *options, "--data", str(before), "--run", "moved"])
    assert done.exit_code == 0, done.output
    before.rename(after)
    refused = invoke(main, ["train", "--resume", "moved", "--epochs", "2"])
    assert refused.exit_code == 1 and "train --resume moved --data WHERE" in refused.output
    refused = invoke(main, ["train", "--resume", "moved", "--epochs", "2", "--data", "mini"])
    assert refused.exit_code == 2 and "can't go on with others" in refused.output
    done = invoke(main, ["train", "--resume", "moved", "--epochs", "2", "--data", str(after)])
    assert done.exit_code == 0, done.output
    card = load_card(runs_dir() / "moved")
    assert card["epochs"] == 2 and card["settings"]["data"] == str(after)
