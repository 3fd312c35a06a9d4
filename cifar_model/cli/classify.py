"""`classify`: say what is in pictures."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np

from cifar_model.answering.classifier import Classifier
from cifar_model.answering.files import classify_files
from cifar_model.answering.rows import Extras
from cifar_model.charts.explanations import Explanations
from cifar_model.charts.sheets import check_sheet_path, contact_sheet, save_sheet
from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.options import (
    CsvTarget,
    check_fitted,
    file_path,
    json_option,
    keep_compiled,
    model_option,
    raw_option,
    sets_option,
)
from cifar_model.cli.output import answer_writer, shown_path
from cifar_model.cli.progress import progress_bar
from cifar_model.errors import SettingsError
from cifar_model.pictures.admit import ALLOWED
from cifar_model.pictures.folders import distinct_names, find_images
from cifar_model.storage import check_folder
from cifar_model.text import percent

SHEET_LIMIT = 1_000  # pictures on one sheet: some 25 megapixels
NAMED = 10  # of the files that are left out


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, type=file_path)
@model_option
@raw_option
@click.option("--top", default=3, show_default=True, type=click.IntRange(1, 10), help="Classes shown for each picture.")
@json_option
@click.option(
    "--csv",
    "csv_file",
    metavar="[FILE]",
    type=CsvTarget(),
    is_flag=False,
    flag_value="-",
    help="Write CSV with all ten probabilities to FILE, or print it.",
)
@click.option("--sheet", metavar="FILE.png", type=file_path, help="Draw the pictures with their answers.")
@sets_option
@click.option("--scope", "with_scope", is_flag=True, help='Say whether a picture looks like "none of the ten".')
@click.option(
    "--explain", metavar="DIR", type=file_path, help="Draw into DIR, for each picture, where the evidence lies."
)
def classify(
    paths: tuple[Path, ...],
    model: str,
    raw: bool,
    top: int,
    as_json: bool,
    csv_file: Path | None,
    sheet: Path | None,
    level: int | None,
    with_scope: bool,
    explain: Path | None,
) -> None:
    """Say what pictures show. PATH is a picture, or a folder with pictures at any depth.

    Files that can't be read are listed at the end, and the exit code is 1; all others are answered.
    """
    if not paths:
        raise click.UsageError("Name at least one picture file or folder.")
    to_stdout = csv_file == Path("-")
    if as_json and to_stdout:
        raise SettingsError("JSON and CSV can't both be printed. Leave one out, or give --csv a file name.")
    if sheet:
        check_sheet_path(sheet)
    if csv_file and not to_stdout:
        check_folder(csv_file)

    failures: list[tuple[Path, str]] = []
    left_out: list[Path] = []
    found = find_images(
        paths, on_error=lambda path, error: failures.append((path, str(error))), on_left_out=left_out.append
    )
    if not found and not failures:
        places = ", ".join(shown_path(path) for path in paths)
        raise SettingsError(f"No pictures in {places}. Looked for: {ALLOWED}. {_left_out(left_out)}".rstrip())
    names = dict(zip(found, distinct_names(found), strict=True))
    classifier = Classifier(model, calibrated=not raw)
    check_fitted(classifier, sets=level is not None, scope=with_scope)
    explanations = None
    if explain:
        explanations = Explanations(classifier, explain)

    drawn: list[np.ndarray] = []
    captions: list[str] = []
    answered = 0
    # On a terminal the table's lines are the progress; a bar would tear them.
    lines_show = sys.stdout.isatty() and csv_file is None and not as_json
    with ExitStack() as stack:
        extras = Extras(level, with_scope)
        writer = stack.enter_context(answer_writer(model, found, top, as_json, csv_file, extras))
        bar = stack.enter_context(progress_bar(len(found), hidden=lines_show))
        for one in classify_files(classifier, found):
            bar.update(1)
            if one.error:
                failures.append((one.path, one.error))
                continue
            answered += 1
            writer.add(one)
            if explanations:
                explanations.add(one.path, one.pixels, one.answer.probabilities)
            if sheet and answered <= SHEET_LIMIT:
                best = int(one.answer.probabilities.argmax())
                drawn.append(one.pixels)
                captions.append(f"{names[one.path]}\n{CLASS_NAMES[best]} {percent(one.answer.probabilities[best])}")
        writer.finish(failures, left_out)

    if sheet and drawn:
        save_sheet(contact_sheet(np.stack(drawn), captions), sheet)
        if answered > SHEET_LIMIT:
            click.echo(f"{shown_path(sheet)} shows the first {SHEET_LIMIT:,} pictures.", err=True)
    if left_out:
        click.echo(_left_out(left_out), err=True)
    keep_compiled(classifier)
    if failures:
        click.echo(f"Answered: {answered:,}. Can't be read: {len(failures):,}", err=True)
        for _, reason in failures:
            click.echo(f"  {reason}", err=True)
        raise click.exceptions.Exit(1)


def _left_out(paths: list[Path]) -> str:
    """What lay in the folders and is no picture, counted and named; "" for nothing."""
    if not paths:
        return ""
    named = ", ".join(shown_path(Path(name)) for name in distinct_names(paths)[:NAMED])
    more = f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else ""
    return f"Left out, not pictures: {len(paths):,} ({named}{more})."
