"""`data`: what CIFAR-10 was found, where, and what is in it."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np

from cifar_model.answering.check_data import check_data
from cifar_model.charts.sheets import check_sheet_path, contact_sheet, save_sheet
from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.output import show_table
from cifar_model.cli.progress import progress_bar
from cifar_model.data import download as data_download
from cifar_model.data import sources
from cifar_model.data.cache import cache_entry, load_cifar10
from cifar_model.data.distilled import describe_mini, read_mini
from cifar_model.data.download import Progress, partial_download
from cifar_model.data.find import find_source, keras_source
from cifar_model.data.sources import MINI, THREE_WAYS, Split
from cifar_model.errors import DatasetError


@click.command()
@click.argument("place", metavar="[DIR]", required=False)
@click.option("--data", "data_dir", metavar="DIR", help="The same as DIR.")
@click.option(
    "--download",
    is_flag=True,
    help="Download the official archive (170 MB); continues where one broke off.",
)
@click.option("--sheet", metavar="FILE.png", type=click.Path(path_type=Path), help="Draw some images of each class.")
@click.option("--per-class", default=10, show_default=True, type=click.IntRange(1, 100), help="… this many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def data(
    place: str | None, data_dir: str | None, download: bool, sheet: Path | None, per_class: int, as_json: bool
) -> None:
    """Find CIFAR-10, check all of it, and count its images.

    DIR holds the Hugging Face Parquet files, cifar-10-batches-py or -bin, the .tar.gz of either, folders of images by
    class (train/cat/*.png, test/cat/*.png), Kaggle's train/ with trainLabels.csv, or .npz files; or it is a .zip of
    these. Without DIR, CIFAR10_DIR counts, then what keras.datasets.cifar10 has downloaded. If there is none of these,
    and for DIR "mini", the distilled images that ship with this project are shown.
    """
    if place and data_dir:
        raise click.UsageError("Name one place: DIR, or --data DIR.")
    data_dir = place or data_dir
    if sheet:
        check_sheet_path(sheet)
    if download:
        if data_dir or os.environ.get("CIFAR10_DIR"):
            raise click.UsageError("--download goes to Keras's cache: leave --data and CIFAR10_DIR out.")
        _download()
    doubts = None
    source = find_source(data_dir, mini=True)
    if source.kind == MINI:
        entry = None
        arrays = dict(zip(("train", "validation"), read_mini(), strict=True))
    else:
        entry = cache_entry(source)
        if not entry.exists():
            click.echo("Reading and checking all images. This happens once and takes a few seconds …", err=True)
        arrays = dict(zip(("train", "test"), load_cifar10(data_dir), strict=True))
        doubts = check_data(source, arrays["train"], arrays["test"])
    counts = {split: np.bincount(y, minlength=len(CLASS_NAMES)).tolist() for split, (_, y) in arrays.items()}
    if sheet:
        _draw(arrays["train"], per_class, sheet)

    cached = entry if entry and entry.exists() else None
    if as_json:
        answer = {
            "source": {"kind": source.kind, "title": source.title, "path": str(source.path)},
            "files": [{"name": file.name, "bytes": file.stat().st_size} for file in source.files],
            "cache": str(cached) if cached else None,
            "sheet": str(sheet) if sheet else None,
            "doubts": doubts,
        }
        for split, numbers in counts.items():
            per_name = dict(zip(CLASS_NAMES, numbers, strict=True))
            answer[split] = {"images": sum(numbers), "per_class": per_name}
        return click.echo(json.dumps(answer, indent=2))
    if source.kind == MINI:
        if not data_dir:
            click.echo("CIFAR-10 is not on this machine. Until it is, networks are trained on these:\n")
        click.echo(describe_mini("seed-cnn") + "\n")
    click.echo(f"{'Mini' if source.kind == MINI else 'CIFAR-10'}: {source.title} in {source.path}")
    for file in source.files:
        click.echo(f"  {file.name}  {file.stat().st_size:,} bytes")
    columns = ([f"{number:,}" for number in (*n, sum(n))] for n in counts.values())
    click.echo()
    show_table(("CLASS", *(split.upper() for split in counts)), zip((*CLASS_NAMES, "all"), *columns, strict=True))
    if entry:
        where = f"in {cached} ({_megabytes(cached)} MB; may be deleted)" if cached else "could not be written"
        click.echo(f"\nCache of decoded images: {where}")
    elif not data_dir:
        click.echo(f"\n{THREE_WAYS}")
    if doubts:
        click.echo(f"\nWarning: this may not be CIFAR-10. {doubts}")
    if sheet:
        click.echo(f"Contact sheet: {sheet}")


def _download() -> None:
    """Fetch the archive if Keras's cache lacks it: a bar in a terminal, plain lines elsewhere."""
    if keras_source():
        return click.echo("Keras has CIFAR-10 already.", err=True)
    part = partial_download()
    kept = f", continuing after {part.stat().st_size / 1e6:,.1f} MB" if part else ""
    click.echo(f"Downloading {sources.ARCHIVE_URL} ({data_download.ARCHIVE_BYTES / 1e6:,.0f} MB){kept}", err=True)
    with ExitStack() as stack:
        if sys.stderr.isatty():
            bar = stack.enter_context(progress_bar(data_download.ARCHIVE_BYTES, of_bytes=True))
            path = data_download.download(lambda done, total: bar.reach(done))
        else:
            path = data_download.download(_every_tenth())
    click.echo(f"Verified and saved as {path}", err=True)


def _every_tenth() -> Progress:
    """Plain lines of progress: one each tenth of the way."""
    shown = 0

    def show(done: int, total: int) -> None:
        nonlocal shown
        if 10 * done // total > shown:
            shown = 10 * done // total
            click.echo(f"  {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", err=True)

    return show


def _draw(train: Split, per_class: int, path: Path) -> None:
    x, y = train
    rows = [np.flatnonzero(y == label)[:per_class] for label in range(len(CLASS_NAMES))]
    per_row = min(map(len, rows))  # rows of one length keep each class in a row of its own
    if not per_row:
        absent = ", ".join(name for name, row in zip(CLASS_NAMES, rows, strict=True) if not len(row))
        raise DatasetError(f"No training images of {absent}: a sheet needs some of each class.")
    chosen = np.concatenate([row[:per_row] for row in rows])
    captions = [CLASS_NAMES[label] for label in y[chosen]]
    save_sheet(contact_sheet(x[chosen], captions, columns=per_row, scale=3), path)


def _megabytes(folder: Path) -> int:
    return round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6)
