"""A run whose data lies elsewhere now goes on with --data."""

import shutil

import pytest
from click.testing import CliRunner

from cifar_model.__main__ import main
from cifar_model.models.card import load_card
from cifar_model.runs.read import read_run
from cifar_model.storage import runs_dir


@pytest.mark.training
def test_resume_with_data_that_has_moved(tiny_cifar10, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(tiny_cifar10, before)
    invoke = CliRunner().invoke
    options = ["--network", "custom", "--filters", "8", "--batch-size", "64", "--epochs", "1", "--precision", "float32"]
    done = invoke(main, ["train", *options, "--data", str(before), "--run", "moved"])
    assert done.exit_code == 0, done.output
    # Stripes are not what a network that knows CIFAR-10 expects: said once, before the first epoch.
    assert done.output.count("Warning: This may not be CIFAR-10. seed-cnn") == 1
    assert done.output.index("Warning:") < done.output.index("epoch 1")
    assert "This may not be CIFAR-10" in read_run("moved").status["doubts"]
    assert "train --resume moved --epochs 2\n" in done.output and "train --start-from moved" in done.output
    before.rename(after)
    refused = invoke(main, ["train", "--resume", "moved"])
    assert refused.exit_code == 1 and "--resume moved --epochs 2" in refused.output
    assert "--start-from moved" in refused.output
    refused = invoke(main, ["train", "--resume", "moved", "--epochs", "2"])
    assert refused.exit_code == 1 and "train --resume moved --data WHERE" in refused.output
    refused = invoke(main, ["train", "--resume", "moved", "--epochs", "2", "--data", "mini"])
    assert refused.exit_code == 2 and "can't continue on other data" in refused.output
    done = invoke(main, ["train", "--resume", "moved", "--epochs", "2", "--data", str(after)])
    assert done.exit_code == 0, done.output
    card = load_card(runs_dir() / "moved")
    assert card["epochs"] == 2 and card["settings"]["data"] == str(after)
