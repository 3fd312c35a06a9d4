"""What a person writes by mistake, and gets an answer that helps."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import write_parquet

from cifar_model.__main__ import main
from cifar_model.cli.data import data as data_command
from cifar_model.data.cache import load_cifar10
from cifar_model.errors import SettingsError
from cifar_model.pictures.mix import blend


@pytest.mark.parametrize(("written", "meant"), [("40", "0.4"), ("40%", "0.4"), ("100", "1"), ("0.5%", "0.005")])
def test_a_ratio_in_per_cent(written, meant):
    result = CliRunner().invoke(main, ["blend", "cat", "dog", "--ratio", written])
    assert result.exit_code == 2 and f"{written} is not in 0…1: did you mean {meant}?" in result.stderr
    result = CliRunner().invoke(main, ["blend", "cat", "dog", "--ratio", "400"])
    assert result.exit_code == 2 and "did you mean" not in result.stderr


def test_a_ratio_in_per_cent_in_python():
    picture = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(SettingsError, match="Did you mean 0.4?"):
        blend(picture, picture, 40)


def test_a_class_without_pictures_shows_a_dash(random_model, tiny_cifar10):
    common = ["evaluate", "--model", str(random_model), "--data", str(tiny_cifar10), "--limit", "3"]
    _, (_, labels) = load_cifar10(tiny_cifar10)
    result = json.loads(CliRunner().invoke(main, [*common, "--json"]).stdout)
    shown = set(labels[:3].tolist())
    for i, row in enumerate(result["classes"].values()):
        assert (row["recall"] is None) == (i not in shown) == (row["images"] == 0)
        assert (row["precision"] is None) == (sum(line[i] for line in result["confusion"]) == 0)
    text = CliRunner().invoke(main, common).stdout
    assert sum("–" in line and line.rstrip().endswith(" 0") for line in text.splitlines()) >= 10 - len(shown)


def test_data_that_no_shipped_network_knows_is_doubted(tiny_cifar10, monkeypatch):
    # Stripes are no photographs: what a network that knows CIFAR-10 must find odd.
    result = CliRunner().invoke(data_command, [str(tiny_cifar10)])
    assert result.exit_code == 0
    assert "this may not be CIFAR-10. seed-cnn" in result.stdout and "is normal" in result.stdout
    monkeypatch.setattr("cifar_model.answering.check_data.Classifier", None)  # asked once for each copy
    assert "this may not be CIFAR-10" in CliRunner().invoke(data_command, [str(tiny_cifar10)]).stdout
    assert json.loads(CliRunner().invoke(data_command, [str(tiny_cifar10), "--json"]).stdout)["doubts"]


def test_real_data_is_not_doubted_and_swapped_colours_are(cifar10_dir, tmp_path):
    _, (x, y) = load_cifar10(cifar10_dir)
    for name, images in {"right": x[:600], "swapped": x[:600, ..., ::-1]}.items():
        folder = tmp_path / name
        folder.mkdir()
        write_parquet(folder / "train-00000-of-00001.parquet", np.asarray(x[1000:2000]), y[1000:2000])
        write_parquet(folder / "test-00000-of-00001.parquet", np.ascontiguousarray(images), y[:600])
        said = json.loads(CliRunner().invoke(data_command, [str(folder), "--json"]).stdout)["doubts"]
        assert (said is None) == (name == "right"), said
        if said:
            assert "Red and blue" in said
