"""``python -m cifar_model distill``: make the images that stand in for CIFAR-10 where it is absent."""

import json
import os
import platform
import shlex
from pathlib import Path

import click
import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.progress import StagesDisplay
from cifar_model.data.cache import load_cifar10
from cifar_model.data.find import find_source
from cifar_model.data.sources import MINI
from cifar_model.distilling.copies import copy_check
from cifar_model.distilling.make import distill as distill_to
from cifar_model.distilling.score import score
from cifar_model.distilling.settings import LIMITS, DistillSettings
from cifar_model.errors import SettingsError
from cifar_model.text import share

SCORED = ("seed-cnn", "lab-net")
RUNS = 3  # trainings of each network whose scores are averaged


def _limits(field: str) -> str:
    low, high = LIMITS[field]
    return f"{low:,} to {high:,}"


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the images.")
@click.option("--per-class", type=int, help=f"Images to train on, {_limits('per_class')} [default: 100].")
@click.option(
    "--validation-per-class",
    type=int,
    help=f"Images to validate on, {_limits('validation_per_class')} [default: 20].",
)
@click.option("--iterations", type=int, help=f"Optimisation steps, {_limits('iterations')} [default: 2400].")
@click.option("--seed", type=int, help="The same seed draws the same random numbers [default: 0].")
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10's folder or archive [default: CIFAR10_DIR].")
@click.option("--checks/--no-checks", default=True, help="Score the images and look for copies, for the card.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def distill(out: Path, data_dir: str | None, checks: bool, as_json: bool, **options) -> None:
    """Distil CIFAR-10 into some hundred synthetic images that a network can be trained on instead.

    Takes about half an hour on two CPU cores. Interrupt it with Ctrl-C at any time: the same command continues from its
    last checkpoint in --out. Afterwards networks are trained on the synthetic images, and others on as many random real
    ones; each is scored on the test images, three times over, and each synthetic image is compared with all training
    images.
    """
    settings = DistillSettings(**{key: value for key, value in options.items() if value is not None})
    if data_dir == MINI:
        raise SettingsError("--data mini is what this command makes: name a folder with CIFAR-10.")
    source = find_source(data_dir)
    data = load_cifar10(data_dir)
    command = ["python", "-m", "cifar_model", "distill", "--out", str(out)]
    for key, value in options.items():
        if value is not None:
            command += ["--" + key.replace("_", "-"), str(value)]
    display = StagesDisplay()

    def describe(train: np.ndarray, validation: np.ndarray) -> dict:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}"
        facts = {"data": source.title, "test_images": len(data[1][1]), "hardware": machine}
        return facts | (_check(train, validation, data, display) if checks else {})

    with display:
        card = distill_to(data, out, settings, describe=describe, command=shlex.join(command), report=display)
    if as_json:
        return click.echo(json.dumps(card, indent=2))
    click.echo(
        f"{out}: {len(CLASS_NAMES)} classes × {card['per_class']['train']} training images, "
        f"{card['per_class']['validation']} validation images, made in {card['seconds'] / 60:.0f} minutes."
    )
    if checks:
        for network in SCORED:
            ours, real = (
                found[network]["real_test_accuracy_mean"] for found in (card["scores"], card["scores"]["random_real"])
            )
            click.echo(f"  {network}: test accuracy {share(ours)}; trained on random real images, {share(real)}")
        for part, found in card["nearest"].items():
            click.echo(
                f"  {part}: nearest photograph at {found['to_nearest']['median']:.3f} (median), which is at "
                f"{found['nearest_to_its_nearest']['median']:.3f} from its own; {share(found['farther'], 0)} farther"
            )


def _check(train, validation, data, display) -> dict:
    """Scores and distances, for the card."""
    (images, labels), test = data
    n = train.shape[1]
    ours = train.reshape(-1, *train.shape[2:]), np.repeat(np.arange(len(CLASS_NAMES)), n)
    scores = {name: {"distilled": [], "random real": []} for name in SCORED}
    for run in range(RUNS):
        rng = np.random.default_rng(run)
        rows = np.concatenate([rng.choice(np.flatnonzero(labels == c), n, replace=False) for c in range(10)])
        for network in SCORED:
            for name, pictures in (("distilled", ours), ("random real", (np.asarray(images[rows]), labels[rows]))):
                accuracy, seconds = score(pictures, test, seed=run, network=network)
                scores[network][name].append((accuracy, seconds))
                message = f"{network}, {name} images, run {run + 1}: {share(accuracy, 2)} after {seconds:.0f} s"
                display("note", {"message": message})
    every = np.asarray(images)
    return {
        "scores": {network: _summary(found["distilled"]) for network, found in scores.items()}
        | {"random_real": {network: _summary(found["random real"]) for network, found in scores.items()}}
        | {"pictures": len(ours[1]), "recipe": "quick, as train --data mini"},
        "nearest": {
            part: copy_check(pictures.reshape(-1, *pictures.shape[2:]), every, report=display)
            for part, pictures in (("train", train), ("validation", validation))
        },
    }


def _summary(runs: list[tuple[float, float]]) -> dict:
    accuracies, seconds = zip(*runs, strict=True)
    return {
        "real_test_accuracy_mean": round(float(np.mean(accuracies)), 4),
        "real_test_accuracies": [round(accuracy, 4) for accuracy in accuracies],
        "runs": len(runs),
        "training_seconds_mean": round(float(np.mean(seconds)), 1),
    }
