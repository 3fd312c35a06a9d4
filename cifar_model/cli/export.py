"""`export`: a model for other programs."""

import json
from pathlib import Path

import click

from cifar_model.answering.classifier import Classifier
from cifar_model.errors import ModelError
from cifar_model.models.exporting.export import CHECK_FILE, README_FILE, export_model
from cifar_model.models.exporting.formats import FORMATS


@click.command()
@click.argument("name", metavar="MODEL")
@click.option("--to", required=True, type=click.Choice(list(FORMATS)), help="The format.")
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="The folder to write; default: MODEL-FORMAT, here."
)
@click.option(
    "--calibrated", is_flag=True, help="Make the calibration in its card a part of the network, behind its softmax."
)
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10's folder or archive, for the comparison.")
@click.option("--json", "as_json", is_flag=True, help="Print what check.json holds.")
def export(name: str, to: str, out: Path | None, calibrated: bool, data_dir: str | None, as_json: bool) -> None:
    """Write MODEL for other programs: a folder with the network, the ten class names and an example of its use.

    The network takes raw pixels, 0 to 255, in every format. What was written is read back and asked about 1,000
    pictures; it is kept only where no probability differs by more than 0.00001 from the model's own.
    """
    classifier = Classifier(name, calibrated=calibrated)
    if calibrated and not classifier.calibration:
        raise ModelError(f"The model {classifier.name} has no calibration. Leave out --calibrated.")
    out = out or Path(f"{classifier.name.replace('@', '-')}-{to}")
    check = export_model(
        classifier.path,
        to,
        out,
        reference=classifier.predict,
        calibration=classifier.calibration,
        name=classifier.name,
        data=data_dir,
    )
    if as_json:
        return click.echo(json.dumps(check | {"folder": str(out)}, indent=2))
    for file, difference in check["largest_difference"].items():
        click.echo(f"{out / file}: on {check['compared_on']} the largest difference is {difference:.1e}")
    click.echo(f"How to use it: {out / README_FILE}. How it was compared: {out / CHECK_FILE}.")
