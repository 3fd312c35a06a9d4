"""The benchmarks run and print what they promise; what they measure is not judged here."""

import importlib
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import hostile, machine_use
from cifar_model.errors import ImageError
from cifar_model.pictures.decode import read_picture
from cifar_model.pictures.fit import fit_image
from tests.helpers import REPOSITORY, write_parquet

NAMES = (
    *("time_to_accuracy", "machine_use", "eight_epochs", "answers", "app"),
    *("explanations", "distilled", "out_of_scope", "held_out_things", "live"),
    *("hostile", "kills", "pages", "scale", "soak"),
)


def run(name, *options, **environment):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *map(str, options)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_help(name):
    module = importlib.import_module(f"benchmarks.{name}")
    text = CliRunner().invoke(module.main, ["--help"], catch_exceptions=False).stdout
    assert "--json" in text and "Wanted" in text


@pytest.mark.training
@pytest.mark.parametrize(
    ("name", "options", "columns"),
    [
        ("machine_use", ("--rounds", 1, "--size", 64, "--batch-size", 20), {"over the product"}),
        (
            "explanations",
            ("--images", 3, "--model", "seed-cnn", "--method", "Grad-CAM"),
            {"mean colour", "blurred", "noise", "inserted"},
        ),
        ("answers", ("--files", 20, "--rounds", 1, "--repeats", 3, "--model", "seed-cnn"), {"pictures/s", "ratio"}),
        ("time_to_accuracy", ("--epochs", 1, "--fraction", 0.2, "--checks", 1, "--minutes", 0), {"times sooner"}),
        (
            "eight_epochs",
            ("--epochs", 1, "--batch-size", 20, "--fraction", 0.1, "--seeds", 2, "--no-torch"),
            {"averaged %"},
        ),
    ],
)
def test_a_tiny_run_gives_numbers(name, options, columns, tiny_cifar10):
    result = json.loads(run(name, "--data", tiny_cifar10, "--json", *options))
    assert {"rows", "hardware", "command", "seconds"} <= set(result)
    assert columns <= set(result["rows"][0])
    for column in columns:
        # Something was measured in each of them.
        assert any(isinstance(row[column], int | float) for row in result["rows"])


@pytest.mark.training
def test_things_that_exposure_never_showed_are_told_apart(tiny_cifar10, tmp_path):
    drawn = np.random.default_rng(0)
    for part in ("train", "test"):
        pictures = drawn.integers(0, 256, (100, 32, 32, 3), np.uint8)
        write_parquet(tmp_path / f"{part}.parquet", pictures, range(100))
    options = ("--outliers", tmp_path, "--network", "seed-cnn", "--recipe", "quick", "--epochs", 1)
    result = json.loads(run("held_out_things", "--data", tiny_cifar10, "--json", *options))
    rows = {row["superclass"]: row for row in result["rows"]}
    assert len(rows) == 23 and {row["images"] for row in rows.values()} == {4, 5, 24, 74, 100}
    assert (rows["people"]["shown"], rows["fish"]["shown"]) == ("no", "yes")
    assert all(0 <= row["AUROC"] <= 1 for row in rows.values() if row["AUROC"] is not None)


@pytest.mark.training
def test_users_of_the_app_are_timed():
    options = ("--no-browser", "--no-training", "--users", 3, "--seconds", 8, "--old-runs", 2)
    result = json.loads(run("app", "--json", *options))
    assert len(result["rows"]) == 4, result["notes"]
    uploads, blends, sweeps, looks = result["rows"]
    # On a busy machine no sweep may be whole before its visitor's next blend, which the table then says.
    none_whole = any(": 0 of " in note for note in result["notes"])
    assert none_whole == (sweeps["app p50 ms"] is None), result["notes"]
    for row in (uploads, blends, looks) if none_whole else result["rows"]:
        assert 0 < row["app p50 ms"] <= row["app p95 ms"] and row["over empty's"] > 0


@pytest.mark.training
def test_visitors_for_a_long_time_are_watched():
    result = json.loads(run("soak", "--json", "--users", 3, "--minutes", 0.2, "--no-training"))
    row, said = result["rows"][-1], " ".join(result["notes"])
    assert row["app MB"] > 50 and row["done"] >= 3 and row["lost"] == 0, said
    assert "Answered: " in said and "folders of visits left: " in said


@pytest.mark.ray
def test_many_pictures_are_measured_and_computed():
    options = ("--pictures", 40, "--model", "seed-cnn", "--shard", 10, "--times", 2)
    result = json.loads(run("scale", "--json", *options))
    measured, computed = result["rows"][:4], result["rows"][4:]
    assert [(row["pictures"], row["workers"]) for row in measured] == [(40, None), (40, 1), (40, 2), (80, 2)]
    assert all(row["seconds"] > 0 and row["driver MB"] > 20 for row in measured) and measured[2]["workers MB"] > 100
    assert [row["workers"] for row in computed] == [1, 2, 4, 8, 16, 32, 64]
    assert {row["what"] for row in computed} == {"computed"}


def test_no_data_is_said_in_a_sentence(tmp_path):
    done = CliRunner().invoke(machine_use.main, ["--data", str(tmp_path / "nothing")])
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert done.stderr.startswith("Error: ") and "nothing" in done.stderr


def test_spoilt_pictures_are_answered_or_refused_in_words():
    """A small part of the hostile hour: whatever the bytes, a picture or an ImageError that names the file."""
    refused = answered = 0
    for name, data in hostile.spoilt_pictures(250, random.Random(5)):
        try:
            assert fit_image(read_picture(data, name=name).image).shape == (32, 32, 3)
            answered += 1
        except ImageError as error:
            assert name in str(error) and len(str(error)) < 500
            refused += 1
    assert refused > 50 and answered > 20
