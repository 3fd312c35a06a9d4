"""`export`: a model for other programs."""

import json
from pathlib import Path

import click

from cifar_model.answering.export import export_classifier
from cifar_model.models.exporting.export import CHECK_FILE, README_FILE
from cifar_model.models.exporting.formats import FORMATS


@click.command()
@click.argument("name", metavar="MODEL")
@click.option("--to", required=True, type=click.Choice(list(FORMATS)), help="The format.")
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="The folder to write; default: MODEL-FORMAT, here."
)
@click.option("--calibrated", is_flag=True, help="Build the model's calibration into the network, after its softmax.")
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10's folder or archive, for the comparison.")
@click.option("--json", "as_json", is_flag=True, help="Print what check.json holds.")
def export(name: str, to: str, out: Path | None, calibrated: bool, data_dir: str | None, as_json: bool) -> None:
    """Write MODEL for other programs: a folder with the network, the ten class names and an example of its use.

    In every format the network takes raw pixels, 0 to 255. The written file is read back and compared with the model on
    1,000 images; it is kept only if no probability differs by more than 0.00001.
    """
    out, check = export_classifier(name, to, out, calibrated=calibrated, data=data_dir)
    if as_json:
        return click.echo(json.dumps(check | {"folder": str(out)}, indent=2))
    for file, difference in check["largest_difference"].items():
        click.echo(f"{out / file}: largest difference {difference:.1e} on {check['compared_on']}")
    click.echo(f"How to use it: {out / README_FILE}. The comparison: {out / CHECK_FILE}.")
