"""What the Models and Classify pages show, on the command line: mistakes, disagreements, filters, maps, neighbours."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import write_model
from PIL import Image

from cifar_model.__main__ import main
from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.storage import assets_dir
from cifar_model.trust.compare import compare
from cifar_model.trust.report import read_report


def call(*arguments):
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def models(tmp_path, tiny_cifar10):
    _, (images, labels) = load_cifar10(tiny_cifar10)
    for seed, name in enumerate(("one", "two")):
        write_model(tmp_path / name, np.asarray(labels), seed=seed, images=images)
    return tmp_path / "one", tmp_path / "two"


def test_surest_mistakes(models, tiny_cifar10, tmp_path):
    report = read_report(models[0])
    code, out, _ = call(
        "mistakes", models[0], "--json", "--top", 5, "--sheet", tmp_path / "s.png", "--data", tiny_cifar10
    )
    found = json.loads(out)
    assert code == 0 and found["pictures"] == len(report.mistakes())
    assert [row["number"] for row in found["first"]] == report.mistakes()[:5].tolist()
    _, (images, _) = load_cifar10(tiny_cifar10)
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    np.testing.assert_array_equal(sheet[8:136:4, 8:136:4], images[found["first"][0]["number"]])
    cell = report.answers.labels[report.mistakes()[0]], report.predicted[report.mistakes()[0]]
    name = "-".join(CLASS_NAMES[i] for i in cell)
    code, out, _ = call("mistakes", models[0], "--cell", name)
    assert code == 0 and f"{report.confusion[cell]:,} of 100 test images" in out
    assert call("mistakes", models[0], "--cell", "cat-unicorn")[0] == 2


def test_disagreements(models):
    found = compare(*(read_report(model) for model in models))
    code, out, _ = call("mistakes", *models, "--json")
    groups = (found.first_right, found.second_right, found.both_wrong)
    assert code == 0 and json.loads(out)["pictures"] == sum(map(len, groups))
    assert json.loads(out)["first"][0]["number"] == np.concatenate(groups)[0]
    lines = call("mistakes", *models)[1].splitlines()
    assert lines[1].split()[:6] == ["TRUE", "CLASS", "PREDICTED", "BY", *str(models[0]).split(), "PROBABILITY"]
    assert lines[2].split()[-1] == f"{np.concatenate(groups)[0]:,}"


def test_a_model_without_answers_says_how_to_get_them(random_model):
    code, _, err = call("mistakes", random_model)
    assert code == 1 and "assess" in err


def test_filters_maps_and_neighbours(random_model, tiny_cifar10, tmp_path):
    dog = assets_dir() / "samples" / "dog.webp"
    code, out, err = call(
        "inside", dog, "--model", random_model, "--filters", tmp_path / "f.png", "--maps", tmp_path / "m.png",
        "--nearest", 3, "--data", tiny_cifar10, "--sheet", tmp_path / "n.png", "--json",
    )  # fmt: skip
    result = json.loads(out)
    assert code == 0 and result["filters"]["number"] == 32 and result["maps"]["layers"] >= 3
    assert [row["distance"] for row in result["nearest"]] == sorted(row["distance"] for row in result["nearest"])
    for name in "fmn":
        assert Image.open(tmp_path / f"{name}.png").width > 100
    assert call("inside", dog)[0] == 2 and call("inside", "--nearest", 3)[0] == 2


@pytest.mark.parametrize("option", [("--filters", "8,8"), ("--dropout", "0.5"), ("--dense", "64")])
def test_what_shapes_custom_alone_is_refused_elsewhere(option):
    code, _, err = call("train", "--network", "seed-cnn", *option)
    assert code == 2 and f"{option[0]} is for --network custom only" in err
