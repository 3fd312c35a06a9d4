"""Progress on a terminal: bars by rich, and plain lines where the output goes elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from cifar_model.text import duration, share

LINE_SECONDS = 5.0  # between two progress lines where the output is not a terminal


class Bar:
    """One bar, or none: `update` counts on by so many, `reach` counts up to so many."""

    def __init__(self, progress=None, task=None):
        self._progress, self._task = progress, task

    def update(self, more: int) -> None:
        if self._progress:
            self._progress.advance(self._task, more)

    def reach(self, done: int) -> None:
        if self._progress:
            self._progress.update(self._task, completed=done)


@contextmanager
def progress_bar(length: int | None, *, hidden: bool = False, of_bytes: bool = False) -> Iterator[Bar]:
    """A bar of `length` steps, or of nobody knows how many, on a terminal's stderr; it vanishes when all is done."""
    if hidden or not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console  # slow to import
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    counted = DownloadColumn() if of_bytes else MofNCompleteColumn()
    with Progress(
        BarColumn(), counted, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as progress:
        yield Bar(progress, progress.add_task("", total=length))


class Display:
    """Lines as they come, above a bar of rich's where the output is a terminal (`bar` is then not None)."""

    err = False  # which stream its lines go to

    def __init__(self):
        self.bar, self.last_line = None, 0.0

    def __exit__(self, *error):
        if self.bar:
            self.bar.stop()

    def say(self, line: str) -> None:
        if self.bar:
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            click.echo(line, err=self.err)  # flushes

    def is_time(self, every: float) -> bool:
        """Whether the last line is so many seconds old; a line then follows."""
        if time.monotonic() - self.last_line < every:
            return False
        self.last_line = time.monotonic()
        return True


class TrainingDisplay(Display):
    """How a training goes, on stdout: a bar below the lines of its epochs on a terminal, plain lines elsewhere.

    Called with ("progress", record), ("epoch", row), and with ("note", {"message": …}) or any other kind.
    """

    def __init__(self, *, every: float = LINE_SECONDS):
        super().__init__()
        self.task, self.every = None, every

    def __enter__(self):
        if sys.stdout.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # slow to import

            self.bar = Progress(
                TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
                BarColumn(),
                TextColumn("loss {task.fields[loss]:.4f}, accuracy {task.fields[accuracy]}"),
                TextColumn("{task.fields[images_per_second]:,.0f} images/s"),
                TimeRemainingColumn(),
            )
            self.bar.start()
        return self

    def __call__(self, kind: str, record: dict[str, Any]) -> None:
        if kind == "progress":
            self._progress(record)
        else:
            self.say(epoch_line(record) if kind == "epoch" else record["message"])

    def _progress(self, record: dict[str, Any]) -> None:
        if self.bar:
            record = record | {"accuracy": share(record["accuracy"])}
            done = (record["epoch"] - 1) * record["steps"] + record["step"]
            if self.task is None:
                self.task = self.bar.add_task("train", total=record["epochs"] * record["steps"], **record)
            self.bar.update(self.task, completed=done, **record)
        elif self.is_time(self.every):
            self.say(progress_line(record))


def progress_line(record: dict[str, Any]) -> str:
    """A record of progress.jsonl in words."""
    return (
        f"epoch {record['epoch']}/{record['epochs']}, step {record['step']}/{record['steps']}: "
        f"loss {record['loss']:.4f}, accuracy {share(record['accuracy'])}, "
        f"{record['images_per_second']:,.0f} images/s, {duration(record['seconds_left'])} left"
    )


def epoch_line(row: dict[str, Any]) -> str:
    """A row of history.csv in words."""
    return (
        f"epoch {row['epoch']:.0f} done: loss {row['loss']:.4f}, accuracy {share(row['accuracy'])}, "
        f"validation loss {row['val_loss']:.4f}, validation accuracy {share(row['val_accuracy'])}, "
        f"learning rate {row['learning_rate']:.3g}, {row['images_per_second']:,.0f} images/s, "
        f"{duration(row['seconds'])}"
    )


class StagesDisplay(Display):
    """Stages one after the other, on stderr: a bar each on a terminal, a line every few seconds elsewhere.

    Called with ("progress", {stage, done, total, text}) and ("note", {message}).
    """

    err = True

    def __init__(self):
        super().__init__()
        self.tasks = {}

    def __enter__(self):
        if sys.stderr.isatty():
            from rich.console import Console  # slow to import
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True))
            self.bar.start()
        return self

    def __call__(self, kind: str, record: dict[str, Any]) -> None:
        if kind == "note":
            return self.say(record["message"])
        stage, done, total = record["stage"], record["done"], record["total"]
        if self.bar:
            if stage not in self.tasks:
                self.tasks[stage] = self.bar.add_task(stage, total=total, text="")
            self.bar.update(self.tasks[stage], completed=done, text=record["text"])
        elif self.is_time(0.0 if done == total else LINE_SECONDS):
            self.say(f"{stage}: {done:,}/{total:,}  {record['text']}".rstrip())
