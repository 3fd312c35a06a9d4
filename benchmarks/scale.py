"""Many pictures: `classify --ray` against the plain command, its memory at ten times as many, and how it scales."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import psutil
from PIL import Image

from benchmarks._common import Table, benchmark, say
from cifar_model.cluster.connect import EMBEDDED
from cifar_model.data.distilled import read_mini
from cifar_model.errors import LabError
from cifar_model.models.compiled import compile_model
from cifar_model.models.folder import find_model

SIZES = ((160, 120), (320, 240), (640, 480), (1280, 960))  # of the pictures, in turns
DISTINCT = 4_000  # of the files; the others are further names of these
WORKERS = (1, 2, 4, 8, 16, 32, 64)  # of the table
ARCHIVE = 1_000_000  # pictures, for the table
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Measured:
    """One command: how long it took, and the most memory that its processes had at a time, in MB."""

    seconds: float
    driver: float = 0.0  # of the command's own process
    workers: float = 0.0  # of those that answer
    total: float = 0.0  # with Ray's own processes
    driver_cpu: float = 0.0  # seconds of CPU that the command's own process took


@benchmark
@click.option("--pictures", type=click.IntRange(20), default=20_000, show_default=True, help="JPEG files to classify.")
@click.option("--model", default="lab-net", show_default=True, help="Which network answers.")
@click.option("--shard", type=click.IntRange(1), default=1_000, show_default=True, help="Pictures a file of answers.")
@click.option("--times", type=click.IntRange(2), default=10, show_default=True, help="As many more for the memory.")
def main(pictures, model, shard, times):
    """`classify --ray` next to `classify --csv` on the same JPEG files, at 1 and 2 workers, and at ten times as many.

    The files are enlarged distilled images of four sizes. Wanted: with 2 workers on 2 cores at least 0.85 of the plain
    command's speed at 20,000 pictures, and no more memory at 200,000 than at 20,000. The last rows are computed, not
    measured: what so many workers would need if each were as fast as one of two, and the command's own process as busy
    for each file of answers as it was here.
    """
    compile_model(find_model(model))  # before the clock runs: both commands answer from the compiled form
    table = Table(
        "Many pictures",
        ["what", "pictures", "workers", "seconds", "pictures/s", "over plain", "driver MB", "workers MB", "all MB"],
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        say(f"writing {min(pictures, DISTINCT):,} pictures")
        album = write_album(folder / "album", pictures)

        def with_ray(what: str, album: Path, workers: int) -> Measured:
            say(what)
            options = ["--ray", EMBEDDED, "--workers", workers, "--shard", shard, "--out", folder / what]
            return measure([album, "--model", model, *options])

        say("the plain command")
        plain = measure([album, "--csv", folder / "plain.csv", "--model", model])
        one = with_ray("Ray, one worker", album, 1)
        two = with_ray("Ray, two workers", album, 2)
        many = with_ray(f"Ray, {times} times as many", write_album(folder / "many", times * pictures, album), 2)

    def add(what: str, count: int, workers: int | None, found: Measured) -> None:
        speed = count / found.seconds
        memory = (found.driver, found.workers or None, found.total)
        table.add(what, count, workers, found.seconds, speed, speed * plain.seconds / pictures, *memory)

    add("classify --csv", pictures, None, plain)
    add("classify --ray", pictures, 1, one)
    add("classify --ray", pictures, 2, two)
    add("classify --ray", times * pictures, 2, many)
    start_seconds, rate = fitted(pictures, two.seconds, times * pictures, many.seconds)
    driver_rate = (times - 1) * pictures / max(many.driver_cpu - two.driver_cpu, 1e-3)
    for workers in WORKERS:
        speed = min(workers * rate / 2, driver_rate)
        seconds = start_seconds + ARCHIVE / speed
        table.add("computed", ARCHIVE, workers, seconds, ARCHIVE / seconds, None, None, None, None)
    table.notes += [
        f"Two workers are {one.seconds / two.seconds:.2f} times as fast as one.",
        f"Ray costs {start_seconds:.1f} s to start and to end, two workers answer {rate:,.0f} pictures/s, and the "
        f"command's own process would keep up with {driver_rate:,.0f}: from the two runs of {pictures:,} and of "
        f"{times * pictures:,}.",
        "Rows `computed` are arithmetic on these three figures: no storage, network or other work is in them.",
        "Memory: the sums over the processes at their peaks, where Linux knows it with their parts of what they share. "
        f"From {pictures:,} to {times * pictures:,} pictures: {many.total - two.total:+,.0f} MB.",
    ]
    return table


def fitted(few: int, few_seconds: float, many: int, many_seconds: float) -> tuple[float, float]:
    """Seconds that don't depend on the number of pictures, and pictures a second, from two runs."""
    rate = (many - few) / max(many_seconds - few_seconds, 1e-3)
    return max(0.0, few_seconds - few / rate), rate


def write_album(folder: Path, count: int, other: Path | None = None) -> Path:
    """A folder of `count` JPEG files, in folders of a thousand; those of `other` under more names, if it is given."""
    images = read_mini()[0][0]
    firsts = sorted(other.rglob("*.jpg")) if other else []
    for number in range(count):
        file = folder / f"{number // 1000:04}" / f"{number:07}.jpg"
        if number % 1000 == 0:
            file.parent.mkdir(parents=True)
        if number < DISTINCT and not other:
            pixels = np.asarray(images[number % len(images)])
            enlarged = Image.fromarray(pixels).resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC)
            enlarged.save(file, quality=80 + number % 15)
            firsts.append(file)
        else:
            os.link(firsts[number % min(len(firsts), DISTINCT)], file)
    return folder


def measure(arguments: list) -> Measured:
    """Run `classify`, with a look at the memory of its processes several times a second."""
    command = [sys.executable, "-m", "cifar_model", "classify", *map(str, arguments)]
    found = Measured(0.0)
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        watch = threading.Thread(target=_watch, args=(psutil.Process(process.pid), found))
        watch.start()
        code = process.wait()
        found.seconds = time.perf_counter() - start
        watch.join()
        if code:
            errors.seek(0)
            raise LabError(f"`classify` ended with {code}: {errors.read()[-1000:].decode(errors='replace')}")
    return found


def _watch(process: psutil.Process, found: Measured) -> None:
    while True:
        try:
            driver = _megabytes(process)
            times = process.cpu_times()
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            children = process.children(recursive=True)
        except psutil.Error:
            return
        workers = total = 0.0
        for child in children:
            try:
                size = _megabytes(child)
                total += size
                workers += size * " ".join(child.cmdline()).startswith("ray::MapWorker")
            except psutil.Error:  # gone meanwhile
                continue
        found.driver_cpu = times.user + times.system
        found.driver = max(found.driver, driver)
        found.workers = max(found.workers, workers)
        found.total = max(found.total, driver + total)
        time.sleep(0.3)


def _megabytes(process: psutil.Process) -> float:
    """A process's memory, of what it shares with others its part: Ray's shared store would count in each of them."""
    memory = process.memory_full_info()
    return getattr(memory, "pss", memory.rss) / 1e6  # Linux alone knows the parts


if __name__ == "__main__":
    main()
