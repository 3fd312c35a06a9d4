"""`assess`: measure again how far to trust a model."""

import json

import click

from cifar_model.cli.progress import progress_bar
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

    For a model whose card lacks something, as those of older versions do. The network stays as it is; calibration,
    answer sets and the score for "none of the ten" are fitted again on images held out from training, and scored on the
    test images.
    """
    path = find_model(name)
    import_keras()
    with progress_bar(None) as bar:
        written = assess_again(path, data_dir, lambda: bar.update(1))
    if as_json:
        click.echo(json.dumps(written, indent=2))
        return
    scores, calibration = written["scores"], written["calibration"]
    click.echo(f"{name}: test accuracy {share(scores['test_accuracy'], 2)}")
    gap = calibration["expected_calibration_error"]
    click.echo(f"calibration error: {100 * gap:.2f} points")
    for level, found in written["sets"]["levels"].items():
        coverage, size = 100 * found["coverage"], found["mean_size"]
        click.echo(f"answer sets at {level} %: coverage {coverage:.2f} %, mean size {size:.2f}")
    click.echo(f"none of the ten: {share(written['scope']['false_alarms'], 2)} of the test images wrongly flagged")
    click.echo(f"Written to {path}. In words: python -m cifar_model card {name}")
