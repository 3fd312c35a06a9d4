"""`data`: what CIFAR-10 was found, where, and what is in it."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import click
import numpy as np

from cifar_model.answering.classifier import Classifier
from cifar_model.charts.sheets import check_sheet_path, contact_sheet, save_sheet
from cifar_model.classes import CLASS_NAMES
from cifar_model.data import download as data_download
from cifar_model.data import sources
from cifar_model.data.cache import cache_entry, load_cifar10
from cifar_model.data.distilled import describe_mini, read_mini
from cifar_model.data.download import Progress, partial_download
from cifar_model.data.find import find_source, keras_source
from cifar_model.data.sources import MINI, THREE_WAYS, Split
from cifar_model.errors import DatasetError, LabError
from cifar_model.storage import write_json
from cifar_model.trust.doubts import FEWEST, data_doubts

CHECKING = "seed-cnn"  # the smallest network that ships


@click.command()
@click.argument("place", metavar="[DIR]", required=False)
@click.option("--data", "data_dir", metavar="DIR", help="The same as DIR.")
@click.option("--download", is_flag=True, help="Fetch the official archive (170 MB); goes on where a try broke off.")
@click.option("--sheet", metavar="FILE.png", type=click.Path(path_type=Path), help="Draw some of each class.")
@click.option("--per-class", default=10, show_default=True, type=click.IntRange(1, 100), help="… this many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def data(
    place: str | None, data_dir: str | None, download: bool, sheet: Path | None, per_class: int, as_json: bool
) -> None:
    """Find CIFAR-10, check all of it, and count its pictures.

    DIR may hold the Hugging Face Parquet files, cifar-10-batches-py or -bin, or the .tar.gz of either, pictures by
    class (train/cat/*.png, test/cat/*.png), Kaggle's train/ with trainLabels.csv, or .npz; or be a .zip of one of
    these. Without it, CIFAR10_DIR is looked at, then what keras.datasets.cifar10 downloaded. Where there is none of
    these, and for DIR "mini", the distilled pictures that ship with the project are shown.
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
            click.echo("Reading and checking all pictures, once: some seconds …", err=True)
        arrays = dict(zip(("train", "test"), load_cifar10(data_dir), strict=True))
        doubts = _doubts(entry, arrays["test"])
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
            click.echo("CIFAR-10 is not on this machine. Training uses these instead:\n")
        click.echo(describe_mini("seed-cnn") + "\n")
    click.echo(f"{'Mini' if source.kind == MINI else 'CIFAR-10'}: {source.title} in {source.path}")
    for file in source.files:
        click.echo(f"  {file.name}  {file.stat().st_size:,} bytes")
    columns = {split: [split, *(f"{number:,}" for number in (*n, sum(n)))] for split, n in counts.items()}
    click.echo()
    for row, name in enumerate(("class", *CLASS_NAMES, "all")):
        cells = (column[row].rjust(max(8, len(split) + 2)) for split, column in columns.items())
        click.echo(f"{name:<12}" + "".join(cells))
    if entry:
        where = f"in {cached} ({_megabytes(cached)} MB, can be deleted)" if cached else "none could be written"
        click.echo(f"\nDecoded cache: {where}")
    elif not data_dir:
        click.echo(f"\n{THREE_WAYS}")
    if doubts:
        click.echo(f"\nAre these CIFAR-10's pictures? Asked of seed-cnn, which ships with the project: {doubts}")
    if sheet:
        click.echo(f"Contact sheet: {sheet}")


def _doubts(entry: Path, test: Split) -> str | None:
    """What a shipped network finds odd about the test part; asked once for each copy, when it has been decoded."""
    if len(test[1]) < FEWEST:
        return None
    known = entry / "doubts.json"
    with suppress(OSError, ValueError, KeyError):
        return json.loads(known.read_text(encoding="utf-8"))["doubts"]
    try:
        classifier = Classifier(CHECKING)
        expected = classifier.card.scores.test_accuracy
        found = None if expected is None else data_doubts(classifier.predict, *test, expected)
    except LabError:
        return None  # a checkout without models
    with suppress(OSError, LabError):
        write_json(known, {"doubts": found})
    return found


def _download() -> None:
    """Fetch the archive if Keras's cache lacks it: a bar in a terminal, plain lines elsewhere."""
    if keras_source():
        return click.echo("Keras has CIFAR-10 already.", err=True)
    part = partial_download()
    kept = f", going on after {part.stat().st_size / 1e6:,.1f} MB" if part else ""
    click.echo(f"Downloading {sources.ARCHIVE_URL} ({data_download.ARCHIVE_BYTES / 1e6:,.0f} MB){kept}", err=True)
    with ExitStack() as stack:
        if sys.stderr.isatty():
            bar = stack.enter_context(click.progressbar(length=data_download.ARCHIVE_BYTES, file=sys.stderr))
            path = data_download.download(lambda done, total: bar.update(done - bar.pos))
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
        raise DatasetError(f"No train picture of {absent}: a sheet needs one of each class.")
    chosen = np.concatenate([row[:per_row] for row in rows])
    captions = [CLASS_NAMES[label] for label in y[chosen]]
    save_sheet(contact_sheet(x[chosen], captions, columns=per_row, scale=3), path)


def _megabytes(folder: Path) -> int:
    return round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6)
