"""`mistakes`: the test images that a model gets wrong, those of one cell, and those on which two models disagree."""

import json
from pathlib import Path

import click
import numpy as np

from cifar_model.charts.sheets import check_sheet_path, contact_sheet, save_sheet
from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.options import file_path, json_option
from cifar_model.cli.output import show_table
from cifar_model.data.cache import load_cifar10
from cifar_model.data.split import fingerprints
from cifar_model.errors import ModelError, SettingsError
from cifar_model.text import percent
from cifar_model.trust.compare import compare, in_order_of
from cifar_model.trust.report import Report, read_report


@click.command()
@click.argument("model", default="lab-net")
@click.argument("other", required=False)
@click.option("--cell", metavar="TRUTH-ANSWER", help="The images of one cell of the confusion matrix, such as cat-dog.")
@click.option("--top", default=20, show_default=True, type=click.IntRange(1, 1000), help="The most confident ones.")
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10, for --sheet; default: CIFAR10_DIR.")
@click.option("--sheet", metavar="FILE.png", type=file_path, help="Draw the images with their answers.")
@json_option
def mistakes(
    model: str, other: str | None, cell: str | None, top: int, data_dir: str | None, sheet: Path | None, as_json: bool
) -> None:
    """List the test images that MODEL gets wrong, the most confident first; with OTHER, those on which they disagree.

    Reads the answers that were stored when the training ended: no network runs.
    """
    if other and cell:
        raise click.UsageError("--cell is for one model: leave out OTHER or --cell.")
    if sheet:
        check_sheet_path(sheet)
    reports = [read_report(name) for name in (model, other) if name]
    for report in reports:
        if report.answers is None:
            raise ModelError(
                f"The model {report.name} has no stored answers to the test images. For a whole run, if CIFAR-10 is "
                f"there, `python -m cifar_model assess {report.name}` makes them."
            )
    numbers, title = _chosen(reports, cell)
    if other:
        reports[1] = in_order_of(*reports)
    rows = [_row(reports, int(number)) for number in numbers[:top]]
    if sheet and rows:
        _draw(reports, rows, data_dir, sheet)
    if as_json:
        click.echo(json.dumps({"models": [r.name for r in reports], "pictures": len(numbers), "first": rows}, indent=2))
        return
    click.echo(f"{title}: {len(numbers):,} of {len(reports[0].answers.labels):,} test images, the most confident first")
    said = [f"PREDICTED BY {report.name}" for report in reports] if other else ["PREDICTED"]
    show_table(
        ("TRUE CLASS", *(name for one in said for name in (one, "PROBABILITY")), "TEST IMAGE"),
        (
            (
                row["truth"],
                *(cell for a in row["answers"] for cell in (a["class"], percent(a["probability"]))),
                f"{row['number']:,}",
            )
            for row in rows
        ),
    )


def _chosen(reports: list[Report], cell: str | None) -> tuple[np.ndarray, str]:
    first = reports[0]
    if len(reports) == 2:
        found = compare(*reports)
        if found is None:
            raise ModelError("The two models were scored on different test images.")
        groups = (found.first_right, found.second_right, found.both_wrong)
        counts = ", ".join(f"{len(group):,}" for group in groups)
        title = f"{first.name} and {reports[1].name} disagree (first right, second right, both wrong: {counts})"
        return np.concatenate(groups), title
    if cell is None:
        return first.mistakes(), f"Mistakes of {first.name}"
    truth, _, answer = cell.partition("-")
    if truth not in CLASS_NAMES or answer not in CLASS_NAMES:
        raise SettingsError(
            f"A cell is two classes, such as cat-dog. Received: {cell}. Classes: {', '.join(CLASS_NAMES)}."
        )
    return first.cell(
        CLASS_NAMES.index(truth), CLASS_NAMES.index(answer)
    ), f"{truth} taken for {answer} by {first.name}"


def _row(reports: list[Report], number: int) -> dict:
    answers = []
    for report in reports:
        belief = report.probabilities[number]
        answers.append({"class": CLASS_NAMES[int(belief.argmax())], "probability": float(belief.max())})
    return {"number": number, "truth": CLASS_NAMES[reports[0].answers.labels[number]], "answers": answers}


def _draw(reports: list[Report], rows: list[dict], data_dir: str | None, sheet: Path) -> None:
    _, (images, _) = load_cifar10(data_dir)
    places = reports[0].answers.places(fingerprints(images))
    rows = [row for row in rows if places[row["number"]] >= 0]
    if not rows:
        raise ModelError("None of these test images is in this copy of CIFAR-10.")
    captions = [" / ".join(a["class"] for a in row["answers"]) + f"\nis: {row['truth']}" for row in rows]
    save_sheet(contact_sheet(images[[places[row["number"]] for row in rows]], captions), sheet)
