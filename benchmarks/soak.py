"""An hour with fifty visitors: does the app's memory stay flat, is every action answered, does nothing pile up?"""

import asyncio
import contextlib
import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import psutil
from websockets.exceptions import ConnectionClosed

from benchmarks._common import Table, benchmark, data_option, held_bytes, say
from benchmarks._visitors import ROOT, Server, Visitor, serving, write_old_runs
from benchmarks.app import picture, start_training, stop_training
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError
from cifar_model.models.history import history_rows
from cifar_model.runs.read import read_run
from cifar_model.storage import VISITS, caches_dir

STAY = 300.0  # seconds, on average, until a visitor leaves and another comes
PERIODS = {"upload": 10.0, "blend": 30.0}  # seconds between two actions of a visitor
SHARES = ("upload", "blend", "watch")  # who comes, in turn
HANG = 120.0  # seconds after which an action counts as lost
LEAVES = 240.0  # seconds until what visits left behind is gone, at most
LOOK = 10.0  # seconds between two looks at the memory
OLD_RUNS = 50


@dataclass
class Crowd:
    """What all visitors together have done so far."""

    done: Counter = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    visits: int = 0
    pictures: int = 0

    def next_picture(self) -> tuple[str, bytes]:
        """One that nobody has shown before."""
        self.pictures += 1
        return picture(self.pictures, 0)


@dataclass
class Look:
    """The app at one moment: megabytes of its process and of its workers, threads, open files and connections."""

    seconds: float
    own: float
    workers: float
    threads: int
    files: int


@benchmark
@data_option
@click.option("--users", type=click.IntRange(3), default=50, show_default=True, help="Visitors at the same time.")
@click.option("--minutes", type=click.FloatRange(0.1), default=60.0, show_default=True, help="That it lasts.")
@click.option("--training/--no-training", default=True, show_default=True, help="Watch a real one.")
def main(data, users, minutes, training):
    """Many visitors for a long time, on 127.0.0.1: a third upload, a third blend, a third watch a training.

    Each shows new pictures only, leaves after some minutes, and another one comes, as in a class or at a stand. Wanted:
    memory flat after ten minutes, no action unanswered, the training unharmed, nothing of the visits left behind.
    """
    table = Table(
        "Many visitors for a long time", ["minutes", "app MB", "workers MB", "threads", "open", "done", "lost"]
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        os.environ |= {
            "CIFAR_LAB_RUNS": str(folder / "runs"), "CIFAR_LAB_CACHE": str(folder / "cache"),
            "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
        }  # fmt: skip
        if data:
            os.environ["CIFAR10_DIR"] = data
        write_old_runs(folder / "runs", OLD_RUNS)
        run = start_training(data, table) if training else None
        try:
            with serving(ROOT / "streamlit_app.py", folder) as server:
                looks, crowd = asyncio.run(_an_hour(server, users, 60 * minutes, run or "old-0", table))
                _conclude(table, server, looks, crowd)
            if run:
                _check_training(table, run)
        finally:
            if run:
                stop_training(run)
    return table


async def _an_hour(server: Server, users: int, seconds: float, run: str, table: Table) -> tuple[list[Look], Crowd]:
    crowd, looks, end = Crowd(), [], time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for number in range(users):
            tasks.create_task(_place(server.address, SHARES[number % len(SHARES)], number, end, run, crowd))
        every, started = max(LOOK, seconds / 12), time.monotonic()
        due = every
        while time.monotonic() < end:
            await asyncio.sleep(min(LOOK, seconds / 24))
            looks.append(await asyncio.to_thread(_look, server, time.monotonic() - started))
            if looks[-1].seconds >= due:
                _add_row(table, looks[-1], crowd)
                due += every
    return looks, crowd


async def _place(address: str, kind: str, number: int, end: float, run: str, crowd: Crowd) -> None:
    """A place that is never empty: one visitor after another until the end."""
    draw = random.Random(number)
    await asyncio.sleep(draw.random() * PERIODS["upload"])
    while time.monotonic() < end:
        leaves = min(end, time.monotonic() + draw.uniform(0.2, 1.8) * STAY)
        try:
            crowd.visits += 1
            page, query = {"upload": ("", ""), "blend": ("blend", ""), "watch": ("train", f"run={run}")}[kind]
            async with asyncio.timeout(HANG):
                visitor = await Visitor(address, page, query).__aenter__()
            try:
                await (_watch(visitor, leaves, crowd) if kind == "watch" else _show(visitor, kind, leaves, draw, crowd))
            finally:
                await visitor.__aexit__()
        except (TimeoutError, OSError, LabError, ConnectionClosed) as error:
            crowd.lost.append(f"{kind}: {type(error).__name__} {error}")
            await asyncio.sleep(1)


async def _show(visitor: Visitor, kind: str, leaves: float, draw: random.Random, crowd: Crowd) -> None:
    """Upload, or blend, new pictures at the pace of a person."""
    while time.monotonic() < leaves:
        name, data = await asyncio.to_thread(crowd.next_picture)
        await _within(visitor.upload({"upload": "uploads_files", "blend": "file_a"}[kind], name, data))
        while kind == "blend" and visitor.answered and not visitor.whole and visitor.timers:
            await asyncio.sleep(min(visitor.timers.values()))
            for fragment in list(visitor.timers):
                await _within(visitor.look(fragment))
        answered = visitor.whole if kind == "blend" else any(map(_is_answer, visitor.said))
        if answered:
            crowd.done[kind] += 1
        else:
            crowd.lost.append(f"{kind}: no answer to {name}, but {visitor.said}")
        await asyncio.sleep(PERIODS[kind] * draw.uniform(0.5, 1.5))


async def _watch(visitor: Visitor, leaves: float, crowd: Crowd) -> None:
    """Look at a training as often as the page asks for it."""
    while time.monotonic() < leaves:
        if not visitor.timers:  # a run that has ended
            await asyncio.sleep(LOOK)
            await _within(visitor.again())
        for fragment in list(visitor.timers):
            await _within(visitor.look(fragment))
        crowd.done["watch"] += 1
        await asyncio.sleep(min(visitor.timers.values(), default=LOOK))


async def _within(action: Awaitable) -> None:
    async with asyncio.timeout(HANG):
        await action


def _is_answer(heading: str) -> bool:
    return "ten classes" in heading or any(name in heading.lower() for name in CLASS_NAMES)


def _look(server: Server, seconds: float) -> Look:
    process = psutil.Process(server.process.pid)
    workers = 0
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            workers += held_bytes(child)
    files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    return Look(seconds, held_bytes(process) / 1e6, workers / 1e6, process.num_threads(), files)


def _add_row(table: Table, look: Look, crowd: Crowd) -> None:
    table.add(look.seconds / 60, look.own, look.workers, look.threads, look.files, crowd.done.total(), len(crowd.lost))
    megabytes = f"{look.own:.0f} + {look.workers:.0f} MB"
    say(f"{look.seconds / 60:.0f} minutes: {megabytes}, {dict(crowd.done)}, lost {len(crowd.lost)}")


def _conclude(table: Table, server: Server, looks: list[Look], crowd: Crowd) -> None:
    """What it comes to, once the last visitor has left."""
    whole = looks[-1].seconds
    early = [look for look in looks if whole / 6 <= look.seconds <= whole / 3]  # of an hour: minutes 10 to 20
    late = [look for look in looks if look.seconds >= 5 * whole / 6]
    held: Callable[[list[Look]], float] = lambda some: statistics.median(look.own + look.workers for look in some)  # noqa: E731
    table.notes.append(
        f"Memory of app and workers: median {held(early):.0f} MB from {whole / 360:.0f} to {whole / 180:.0f} minutes, "
        f"{held(late):.0f} MB in the last sixth: {held(late) / held(early):.3f} times as much. "
        f"Most at any moment: {max(look.own + look.workers for look in looks):.0f} MB."
    )
    table.notes.append(
        f"{crowd.visits} visits. Answered: {', '.join(f'{count:,} {kind}' for kind, count in crowd.done.items())}. "
        f"Lost: {len(crowd.lost)}." + (f" The first: {crowd.lost[0]}" if crowd.lost else "")
    )
    left = asyncio.run(_left_behind(server.address, min(LEAVES, whole)))
    last = _look(server, whole)
    table.notes.append(
        f"After the last one had left: {last.own:.0f} + {last.workers:.0f} MB, {last.threads} threads, "
        f"{last.files} open; folders of visits left: {left}."
    )


async def _left_behind(address: str, seconds: float) -> int:
    """How many visits' folders are left in the end: Streamlit forgets who left two minutes ago when another comes."""
    deadline = time.monotonic() + seconds
    while left := sum(item.is_dir() for item in (caches_dir() / VISITS).glob("*")):
        if time.monotonic() > deadline:
            break
        async with Visitor(address, "train"):
            await asyncio.sleep(5)
    return left


def _check_training(table: Table, name: str) -> None:
    run = read_run(name)
    rows = [int(row["epoch"]) for row in history_rows(run.path)]
    whole = rows == list(range(1, len(rows) + 1))
    table.notes.append(
        f"The training is {run.state}, after {len(rows)} epochs" + ("" if whole else f", whose rows are {rows}") + "."
    )


if __name__ == "__main__":
    main()
