"""`classify`: say what is in pictures."""

import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import click
import numpy as np
from click.core import ParameterSource

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
    ray_option,
    sets_option,
)
from cifar_model.cli.output import answer_writer, shown_path
from cifar_model.cli.progress import StagesDisplay, progress_bar
from cifar_model.cluster.classify import answer_shards, model_digest, unreadable_pictures
from cifar_model.cluster.connect import address_of
from cifar_model.cluster.inputs import find_inputs
from cifar_model.cluster.places import is_address
from cifar_model.cluster.shards import FORMATS, Job, digest, missing_shards
from cifar_model.errors import LabError, SettingsError
from cifar_model.models.compiled import can_compile, compile_model, read_compiled
from cifar_model.models.folder import find_model
from cifar_model.pictures.admit import ALLOWED, printable
from cifar_model.pictures.folders import distinct_names, find_images
from cifar_model.storage import check_folder
from cifar_model.text import percent

SHEET_LIMIT = 1_000  # pictures on one sheet: some 25 megapixels
NAMED = 10  # of the files that are left out, or can't be read by Ray

_PLAIN_OPTIONS = {
    "top": "--top", "as_json": "--json", "csv_file": "--csv", "sheet": "--sheet", "explain": "--explain",
}  # fmt: skip
_RAY_OPTIONS = {"out": "--out", "kind": "--format", "shard": "--shard", "workers": "--workers"}


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, type=click.Path())
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
@ray_option
@click.option("--out", metavar="DIR", help="With --ray: the folder for the answers, in files of many pictures each.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default="parquet",
    show_default=True,
    help="With --ray: of these files.",
)
@click.option(
    "--shard", default=1_000, show_default=True, type=click.IntRange(1), help="With --ray: pictures in a file."
)
@click.option("--workers", type=click.IntRange(1), help="With --ray: at most so many.  [default: a CPU each]")
@click.pass_context
def classify(
    context: click.Context,
    paths: tuple[str, ...],
    model: str,
    raw: bool,
    top: int,
    as_json: bool,
    csv_file: Path | None,
    sheet: Path | None,
    level: int | None,
    with_scope: bool,
    explain: Path | None,
    ray: str | None,
    out: str | None,
    kind: str,
    shard: int,
    workers: int | None,
) -> None:
    """Say what pictures show. PATH is a picture, or a folder with pictures at any depth.

    Files that can't be read are listed at the end, and the exit code is 1; all others are answered.

    With --ray any number of pictures, on all CPUs of this machine or a cluster: the answers go into files in the folder
    --out as they come, and the same command goes on where an earlier one has stopped. PATH may then also be a pattern
    in quotes, a .parquet or .csv file with a column `file` or `path`, or an address such as s3://bucket/folder.
    """
    if not paths:
        raise click.UsageError("Name at least one picture file or folder.")
    _check_options(context, paths, ray is not None)
    if ray is not None:
        return _with_ray(paths, model, raw, Extras(level, with_scope), address_of(ray), out, kind, shard, workers)
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
        map(Path, paths), on_error=lambda path, error: failures.append((path, str(error))), on_left_out=left_out.append
    )
    if not found and not failures:
        places = ", ".join(shown_path(Path(path)) for path in paths)
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


def _check_options(context: click.Context, paths: tuple[str, ...], with_ray: bool) -> None:
    """UsageError where options of one kind of answering stand beside those of the other."""
    given = {name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    if with_ray:
        if wrong := [option for name, option in _PLAIN_OPTIONS.items() if name in given]:
            raise click.UsageError(f"With --ray the answers go into files, so {', '.join(wrong)} can't be had.")
        if "out" not in given:
            raise click.UsageError("With --ray name the folder for the answers: --out DIR.")
    elif wrong := [option for name, option in _RAY_OPTIONS.items() if name in given]:
        raise click.UsageError(f"{', '.join(wrong)} can be had only with --ray.")
    elif addresses := [path for path in paths if is_address(path)]:
        raise click.UsageError(f"{printable(addresses[0])} is an address: give --ray and --out DIR, or name a file.")


def _with_ray(
    paths: tuple[str, ...],
    model: str,
    raw: bool,
    extras: Extras,
    address: str | None,
    out: str,
    kind: str,
    shard: int,
    workers: int | None,
) -> None:
    """Answers in shards, by Ray."""
    folder = find_model(model)
    if can_compile() and read_compiled(folder) is None:  # else each worker would bring Keras
        click.echo(f"Compiling {model}, once …", err=True)
        with suppress(LabError):
            compile_model(folder)
    check_fitted(Classifier(folder), sets=extras.level is not None, scope=extras.scope)
    inputs = find_inputs(paths)
    if not inputs.names:
        raise SettingsError(f"No pictures in {', '.join(map(printable, paths))}. Looked for: {ALLOWED}.")
    job = Job(
        out=out if is_address(out) else os.path.abspath(out),
        format=kind,
        shard=shard,
        pictures=len(inputs.names),
        inputs=digest(inputs.names),
        model=model,
        network=model_digest(folder),
        raw=raw,
        extras=extras,
    )
    numbers = missing_shards(job)
    there = f", {job.count - len(numbers):,} are there already" if len(numbers) < job.count else ""
    click.echo(f"Pictures: {job.pictures:,}. Files of answers: {job.count:,}{there}.", err=True)
    written = job.count - len(numbers)
    lines = None if sys.stderr.isatty() else StagesDisplay()  # on a terminal Ray shows how far it is

    def on_shard(number: int) -> None:
        nonlocal written
        written += 1
        if lines:
            lines("progress", {"stage": "files of answers", "done": written, "total": job.count, "text": ""})

    if numbers:
        try:
            answer_shards(job, inputs, folder, numbers, address=address, workers=workers, on_shard=on_shard)
        except KeyboardInterrupt:
            written = job.count - len(missing_shards(job))
            raise LabError(
                f"Stopped. {written:,} of {job.count:,} files are in {out}. The same command goes on from there."
            ) from None
    if inputs.left_out:
        click.echo(_left_out(list(map(Path, inputs.left_out_first)), inputs.left_out), err=True)
    failed, first = unreadable_pictures(job, NAMED)
    click.echo(f"Answered: {job.pictures - failed:,}. The answers are in {out}.")
    if failed:
        click.echo(f"Can't be read: {failed:,}", err=True)
        for reason in first:
            click.echo(f"  {reason}", err=True)
        if failed > len(first):
            click.echo(f"  and {failed - len(first):,} more, in the column `error`", err=True)
        raise click.exceptions.Exit(1)


def _left_out(paths: list[Path], count: int | None = None) -> str:
    """What lay in the folders and is no picture, counted and named; "" for nothing."""
    if not paths:
        return ""
    count = count or len(paths)
    named = ", ".join(shown_path(Path(name)) for name in distinct_names(paths)[:NAMED])
    more = f" and {count - NAMED:,} more" if count > NAMED else ""
    return f"Left out, not pictures: {count:,} ({named}{more})."
