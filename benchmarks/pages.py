"""What old runs cost: each page drawn again on a server without runs, and on others with many."""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import click
import numpy as np

from benchmarks._common import Table, benchmark, say
from benchmarks._visitors import ROOT, Visitor, serving, write_old_runs

PAGES = {"classify": "", "blend": "blend", "live": "live", "train": "train", "models": "models"}


@benchmark
@click.option("--runs", "counts", multiple=True, type=click.IntRange(1), default=(50, 200), show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=30, show_default=True, help="Of each page.")
def main(counts, repeats):
    """Each page of the app, drawn again with no run on the machine, and with many old ones.

    Real servers, in turns; the time is from the request to the end of the script's run. Wanted: with 200 runs no page
    takes 10 ms more than with none.
    """
    counts = (0, *counts)
    table = Table(
        "Pages and old runs", ["page", *(f"{n} runs ms" for n in counts), *(f"+ ms, {n}" for n in counts[1:])]
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, ExitStack() as stack:
        servers = []
        for count in counts:
            folder = Path(name) / str(count)
            (folder / "runs").mkdir(parents=True)
            write_old_runs(folder / "runs", count)
            environment = {"CIFAR_LAB_RUNS": str(folder / "runs")}
            servers.append(stack.enter_context(serving(ROOT / "streamlit_app.py", folder, environment)))
        for page, path in PAGES.items():
            say(f"drawing {page}")
            times = (
                np.median(asyncio.run(measure([server.address for server in servers], path, repeats)), axis=1) * 1000
            )
            table.add(page, *times, *(times[1:] - times[0]))
    table.notes.append("Medians. One visitor; the servers take turns, so that other work on the machine slows all.")
    return table


async def measure(addresses: list[str], page: str, repeats: int) -> list[list[float]]:
    """Seconds of each drawing, by server."""
    times = [[] for _ in addresses]
    async with AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(Visitor(address, page)) for address in addresses]
        for number in range(repeats + 5):  # five to fill the caches
            for visitor, seconds in zip(visitors, times, strict=True):
                start = time.perf_counter()
                await visitor.again()
                if number >= 5:
                    seconds.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
