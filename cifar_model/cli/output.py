"""Answers as a table, CSV or JSON."""

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import numpy as np

from cifar_model.answering.files import FileAnswer
from cifar_model.answering.rows import Extras, path_text, row_columns, row_of
from cifar_model.classes import CLASS_NAMES
from cifar_model.storage import CsvWriter, csv_file, csv_stdout
from cifar_model.text import percent, printable


@contextmanager
def answer_writer(model: str, paths: list[Path], top: int, as_json: bool, target: Path | None, extras: Extras):
    """Where answers go, one at a time: JSON or a table to stdout, CSV to the file `target`, or to stdout for "-"."""
    to_stdout = target == Path("-")
    columns = row_columns(extras)
    with ExitStack() as stack:
        writers = []
        if to_stdout:
            writers.append(_CsvWriter(csv_stdout(columns), extras))
        elif target:
            writers.append(_CsvWriter(stack.enter_context(csv_file(target, columns)), extras))
        if as_json:
            writers.append(_JsonWriter(model, extras))
        elif not to_stdout:
            writers.append(_TableWriter(paths, top, extras))
        yield _Writers(writers)


class _Writers:
    def __init__(self, writers):
        self._writers = writers

    def add(self, one: FileAnswer) -> None:
        for writer in self._writers:
            writer.add(one)

    def finish(self, failures, left_out=()) -> None:
        for writer in self._writers:
            writer.finish(failures, left_out)


class _CsvWriter:
    def __init__(self, rows: CsvWriter, extras: Extras):
        self._rows = rows
        self._extras = extras

    def add(self, one: FileAnswer) -> None:
        self._rows.write(row_of(one, self._extras))

    def finish(self, failures, left_out=()) -> None:
        pass


class _JsonWriter:
    """One object, written as the answers come so that memory does not grow with them."""

    def __init__(self, model: str, extras: Extras):
        self._extras = extras
        click.echo(f'{{"model": {json.dumps(model)},\n"answers": [', nl=False)
        self._separator = "\n"

    def add(self, one: FileAnswer) -> None:
        best = int(one.answer.probabilities.argmax())
        text = json.dumps(
            {
                "file": str(one.path),
                "class": CLASS_NAMES[best],
                "probability": float(one.answer.probabilities[best]),
                "probabilities": by_class(one.answer.probabilities),
                **self._extras.columns(one.answer),
                **({"notes": list(one.notes)} if one.notes else {}),
            }
        )
        click.echo(self._separator + text, nl=False)
        self._separator = ",\n"

    def finish(self, failures, left_out=()) -> None:
        errors = [{"file": str(path), "error": reason} for path, reason in failures]
        names = f',\n"left_out": {json.dumps([str(path) for path in left_out])}' if left_out else ""
        click.echo(f'\n],\n"errors": {json.dumps(errors)}{names}}}')


class _TableWriter:
    def __init__(self, paths: list[Path], top: int, extras: Extras):
        self._extras = extras
        names = [shown_path(path) for path in paths]
        limit = max(20, shutil.get_terminal_size((100, 24)).columns - 24 - 20 * (top - 1))
        self._width = min(max(map(len, names), default=4), limit)
        self._top = top
        self._has_header = False

    def add(self, one: FileAnswer) -> None:
        if not self._has_header:
            title = "RUNNERS-UP" if self._top > 1 else ""
            click.echo(f"{'FILE':<{self._width}}  {'CLASS':<10}  {'PROBABILITY':>11}  {title}".rstrip())
            self._has_header = True
        name = shown_path(one.path)
        if len(name) > self._width:
            name = "…" + name[1 - self._width :]
        first, *others = np.argsort(-one.answer.probabilities, kind="stable")[: self._top]
        runners = ", ".join(f"{CLASS_NAMES[i]} {percent(one.answer.probabilities[i])}" for i in others)
        belief = percent(one.answer.probabilities[first])
        line = f"{name:<{self._width}}  {CLASS_NAMES[first]:<10}  {belief:>11}  {runners}"
        if words := "; ".join([*self._extras.words(one.answer), *one.notes]):
            line = f"{line:<{self._width + 25 + 20 * (self._top - 1)}}  {words}"
        click.echo(line.rstrip())

    def finish(self, failures, left_out=()) -> None:
        pass


def shown_path(path: Path) -> str:
    """A path on one line that can't control the terminal."""
    return printable(path_text(path))


def by_class(values) -> dict[str, float]:
    return dict(zip(CLASS_NAMES, np.asarray(values).tolist(), strict=True))


def show_table(columns: Sequence[str], rows: Iterable[Sequence], *, left: int = 1) -> None:
    """Print rows below the columns' names: the first `left` columns are aligned to the left, the others to the right.

    A cell is text, or what rich can draw.
    """
    from rich.console import Console  # slow to import
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(printable(column), justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in row))
    # Wide enough for every table: it is never cut, neither in a narrow window nor in a file.
    console = Console(width=1000, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def drawn_share(part: float):
    """A bar for a table, as long as `part`, 0 to 1, is large."""
    from rich.bar import Bar  # slow to import

    return Bar(1, 0, part, width=30)
