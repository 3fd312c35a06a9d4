"""`import`: somebody's own model."""

import json
import sys
from pathlib import Path

import click

from cifar_model.cli.progress import progress_bar
from cifar_model.data.find import is_available
from cifar_model.models.importing.bring import import_model, suggested_name
from cifar_model.models.importing.fit import PIXELS
from cifar_model.runs.names import check_name
from cifar_model.storage import runs_dir
from cifar_model.text import share
from cifar_model.trust.score import score_model


@click.command("import")
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--name", help="What to call the model here; default: the file's name.")
@click.option("--pixels", type=click.Choice(list(PIXELS)), help="The range of its input pixels [default: found out].")
@click.option(
    "--classes",
    metavar="NAMES",
    help="Its ten classes, in the order of its outputs, with commas [default: found out].",
)
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10's folder or archive; default: CIFAR10_DIR.")
@click.option("--score/--no-score", default=True, help="Score it on the test images, if CIFAR-10 is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def import_(
    path: Path,
    name: str | None,
    pixels: str | None,
    classes: str | None,
    data_dir: str | None,
    score: bool,
    as_json: bool,
) -> None:
    """Import a model of your own: PATH is a .keras, .h5, .tflite or .onnx file, or a SavedModel folder.

    It becomes a model like any other here. The range of its pixels, whether it returns probabilities, and the order of
    its classes are found out on labelled images. Files that contain code (Lambda layers) are refused.
    """
    name = check_name(name or suggested_name(path))
    target = runs_dir() / name
    card = import_model(path, target, pixels=pixels, classes=classes, data=data_dir)
    if score and "imported" in card and is_available(data_dir):
        hidden = as_json or not sys.stderr.isatty()
        with progress_bar(20, hidden=hidden) as bar:
            card = score_model(target, data_dir, lambda: bar.update(1))
    if as_json:
        return click.echo(json.dumps(card, indent=2))
    about = card.get("imported", {})
    click.echo(f"{name}: {about.get('format', 'model folder')}, from {path}")
    for note in about.get("notes", ()):
        click.echo(f"  {note}")
    accuracy = card.get("scores", {}).get("test_accuracy")
    if accuracy is not None:
        click.echo(f"  Test accuracy {share(accuracy, 2)} ({card['data']['test']:,} images).")
    click.echo(f"Kept in {target}. Use it: python -m cifar_model classify PICTURE --model {name}")
