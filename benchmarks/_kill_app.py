"""Kill -9 of the app and of its workers, with a visitor who looks on."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks._visitors import ROOT, Server, Visitor
from benchmarks.kills import PATIENCE, Lost, tiny_settings
from cifar_model.runs.change import request
from cifar_model.runs.read import read_run
from cifar_model.runs.start import start_run


def kill_app(runs: Path, kills: int, rng: random.Random) -> Counter:
    """Kill workers, then the app, so often; raise `Lost` where an answer doesn't come, or a training ends with it.

    The training is one that the app has started: a visitor clicks “Continue”.
    """
    done: Counter = Counter()
    start_run(replace(tiny_settings("mini", 200), deterministic=False), "watched")
    _until(lambda: read_run("watched").state == "running", "the training to begin")
    for number in range(kills):
        request("watched", "stop")
        _until(lambda: not read_run("watched").is_live, "the training to stop")
        server = Server(ROOT / "streamlit_app.py", runs)
        try:
            asyncio.run(_visit(server, rng, done, number))
        finally:
            server.stop()
        epoch = read_run("watched").status.get("epoch", 0)
        _until(lambda epoch=epoch: read_run("watched").status.get("epoch", 0) > epoch, "the training to go on")
    request("watched", "stop")
    return done


async def _visit(server: Server, rng: random.Random, done: Counter, number: int) -> None:
    process = psutil.Process(server.process.pid)
    async with Visitor(server.address) as visitor:
        workers = process.children(recursive=True)
        if workers:
            rng.choice(workers).kill()
            done["worker"] += 1
        # A picture that nobody has asked about.
        from benchmarks.app import picture

        await asyncio.wait_for(visitor.upload("uploads_files", *picture(7000 + number, 0)), PATIENCE)
        if not any("·" in line or "ten classes" in line for line in visitor.said):
            raise Lost(f"After a worker was killed there was no answer, but: {visitor.said}")
    async with Visitor(server.address, "train", "run=watched") as visitor:
        await visitor.click("Continue")
        _until(lambda: read_run("watched").is_live, "the training that was continued")
        await asyncio.sleep(rng.uniform(0, 5))
        process.kill()
        done["app"] += 1


def _until(ready, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise Lost(f"Waited in vain for {what}.")
        time.sleep(0.1)
