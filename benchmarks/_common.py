"""What the benchmarks share: the hardware line, tables, JSON, and networks built as `train` builds them."""

import functools
import importlib.metadata
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import psutil

from cifar_model.errors import LabError

PACKAGES = ("tensorflow", "keras", "numpy", "streamlit")


@dataclass
class Table:
    """One benchmark's result: rows of cells below `columns`, and notes that say how to read them."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells) -> None:
        self.rows.append(cells)


def benchmark(command: Callable) -> Callable:
    """A click command around a function that returns a `Table`, with --json; a LabError ends it with its message."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
    @functools.wraps(command)
    def run(as_json, **options):
        start = time.perf_counter()
        try:
            table = command(**options)
        except LabError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        print_table(table, time.perf_counter() - start, as_json)

    return click.command(help=command.__doc__)(run)


def data_option(command: Callable) -> Callable:
    """--data, as in the package's own commands."""
    return click.option(
        "--data", help="Directory or archive with CIFAR-10 [default: CIFAR10_DIR, else Keras's cache]."
    )(command)


def say(line: str) -> None:
    """What is under way, on stderr: stdout is for the result."""
    click.echo(line, err=True)


def say_epochs(what: str) -> Callable[[str, dict], None]:
    """A `report` for `train` that says each epoch of `what` when it is done."""

    def report(kind: str, record: dict) -> None:
        if kind == "epoch":
            told = "{what}, epoch {epoch}: validation accuracy {val_accuracy:.4f}, {seconds:.0f} s"
            say(told.format(what=what, **record))

    return report


def hardware() -> str:
    """This machine and what runs on it, in a line."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := installed(name)))
    busy = psutil.cpu_percent(0.5)
    return (
        f"{_processor()}, {os.cpu_count()} CPUs, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}; CPUs {busy:.0f} % busy with other work at the end"
    )


def installed(package: str) -> str | None:
    """Version of a distribution, None where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def print_table(table: Table, seconds: float, as_json: bool) -> None:
    """Write the result to stdout."""
    module = Path(sys.argv[0]).stem
    command = shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]])
    if as_json:
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        record = {"title": table.title, "rows": rows, "notes": table.notes}
        record |= {"hardware": hardware(), "command": command, "seconds": round(seconds, 1)}
        click.echo(json.dumps(record, indent=2, default=float))
        return
    cells = [list(map(str, table.columns))] + [[_cell(cell) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(not isinstance(row[i], str) for row in table.rows) for i in range(len(widths))]
    click.echo(f"\n{table.title}\n")
    for number, row in enumerate(cells):
        line = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        )
        click.echo("| " + " | ".join(line) + " |")
        if number == 0:
            rule = ("-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True))
            click.echo("|" + "|".join(rule) + "|")
    for note in table.notes:
        click.echo(f"\n{note}")
    click.echo(f"\n{hardware()}\n{command}    ({seconds:.0f} s)")


def _cell(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, float | np.floating):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def held_bytes(process: psutil.Process) -> int:
    """Memory of a process: what is shared with others counts in part, where the system tells (Linux)."""
    with suppress(psutil.Error, AttributeError):
        return process.memory_full_info().pss
    return process.memory_info().rss


class Enough(Exception):
    """Raised by a callback to leave `train` once all is measured."""


def settings_of(network: str, recipe: str, **values):
    """Settings from options, where None stands for the recipe's own value."""
    from cifar_model.training.settings import Settings

    return Settings(network=network, recipe=recipe, **{k: v for k, v in values.items() if v is not None})


def compiled_network(settings, images: np.ndarray, precision: str):
    """The compiled network on which `train` with these settings would work; `images` are for its whitening."""
    from cifar_model.training import network

    steps = settings.epochs * max(1, len(images) // settings.batch_size)
    return network.compiled_network(settings, images, precision=precision, total_steps=steps)


@contextmanager
def temporary_run() -> Iterator[Path]:
    """A directory for a run that nobody keeps."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        yield Path(folder) / "run"


@contextmanager
def model_directory(model: str) -> Iterator[Path | str]:
    """The model to measure: `model`, or where the bundled one of that name is missing, an untrained one.

    How fast a network answers does not depend on what it has learned.
    """
    from cifar_model.errors import ModelError
    from cifar_model.models.folder import find_model
    from cifar_model.models.network import save_network
    from cifar_model.storage import write_json

    try:
        yield find_model(model)
        return
    except ModelError:
        if model not in ("seed-cnn", "lab-net"):
            raise
    from cifar_model.networks.backend import import_keras
    from cifar_model.networks.build import build_network
    from cifar_model.networks.views import mirror_average

    import_keras()
    say(f"The bundled model {model} is not here: an untrained network answers in its place.")
    network = build_network(model)
    if model == "lab-net":
        network = mirror_average(network)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder) / model
        path.mkdir()
        save_network(network, path / "model.keras")
        write_json(path / "card.json", {"name": model, "network": model})
        yield path


def median_seconds(call: Callable[[], object], *, repeats: int, warm: int = 1) -> float:
    """Median time of a call over `repeats`, after `warm` calls that don't count."""
    for _ in range(warm):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
