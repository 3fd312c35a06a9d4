"""`assess`: measure again how far to trust a model."""

import json
import sys

import click

from cifar_model.models.folder import find_model
from cifar_model.networks.backend import import_keras
from cifar_model.text import share
from cifar_model.trust.assess import assess_again


@click.command()
@click.argument("name", metavar="MODEL")
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10's folder or archive; default: CIFAR10_DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print the new card as JSON.")
def assess(name: str, data_dir: str | None, as_json: bool) -> None:
    """Measure again how far to trust MODEL, and write it into its card.

    For a model that was trained before this was part of training, or whose card lost something. The network stays as
    it is; percentages, answer sets and the score for "none of the ten" are fitted anew on pictures held out from
    training, and scored on the test images.
    """
    path = find_model(name)
    import_keras()
    hidden = not sys.stderr.isatty()

    def tick() -> None:
        if not hidden:
            click.echo(".", nl=False, err=True)

    written = assess_again(path, data_dir, tick)
    if not hidden:
        click.echo(err=True)
    if as_json:
        click.echo(json.dumps(written, indent=2))
        return
    scores, calibration = written["scores"], written["calibration"]
    click.echo(f"{name}: {share(scores['test_accuracy'], 2)} of the test images right")
    gap = calibration["expected_calibration_error"]
    click.echo(f"percentages off by {100 * gap:.2f} points on average")
    for level, found in written["sets"]["levels"].items():
        coverage, size = 100 * found["coverage"], found["mean_size"]
        click.echo(f"answer sets at {level} %: held {coverage:.2f} %, {size:.2f} classes on average")
    click.echo(f"none of the ten: {share(written['scope']['false_alarms'], 2)} of the test images flagged by mistake")
    click.echo(f"Written to {path}. The card in words: python -m cifar_model card {name}")
