"""Kill -9 at random moments: trainers, the app and its workers; nothing is lost but the epoch under way."""

import contextlib
import json
import multiprocessing
import os
import random
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import click
import numpy as np
import psutil

from benchmarks._common import Table, benchmark, data_option, say
from cifar_model.errors import LabError
from cifar_model.models.card import load_card
from cifar_model.models.history import history_rows
from cifar_model.runs.read import read_run
from cifar_model.storage import read_json
from cifar_model.training.settings import Settings
from cifar_model.training.train import train

PATIENCE = 300  # seconds for what takes a moment on an idle machine
EARLY = 0.2  # share of the kills that come before the trainer's first epoch is done
LIFE = 0.3  # seconds that the others live at most after it: about an epoch and what is written at its end


class Lost(LabError):
    """Something was lost that should have been kept."""


@benchmark
@data_option
@click.option("--kills", type=click.IntRange(1), default=100, show_default=True, help="Of trainers.")
@click.option("--app-kills", type=click.IntRange(0), default=5, show_default=True, help="Of the app, and of workers.")
@click.option("--epochs", type=click.IntRange(2, 200), default=200, show_default=True, help="Of the run.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the moments.")
def main(data, kills, app_kills, epochs, seed):
    """Kill trainers, and the app with its workers, at random moments, and look after each what is left.

    The trainer: a small network, whose epochs are as short as the writing at their ends. Wanted: after each kill the
    run can be resumed, from the last epoch that had been announced or a later one; in the end it is finished, and its
    network is that of a run which nobody has killed, bit for bit. The app: a killed worker answers again, and a killed
    app leaves the training that it started at work.
    """
    table = Table("Killed at random moments", ["what", "kills", "when", "lost"])
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        os.environ["CIFAR_LAB_RUNS"] = folder
        moments = kill_trainers(Path(folder), tiny_settings(data or "mini", epochs), kills, random.Random(seed))
        when = ", ".join(f"{count} {moment}" for moment, count in sorted(moments.items()))
        table.add("trainer", sum(moments.values()), when, 0)
        if app_kills:
            from benchmarks._kill_app import kill_app

            for what, count in kill_app(Path(folder), app_kills, random.Random(seed)).items():
                table.add(what, count, "", 0)
    return table


def tiny_settings(data: str, epochs: int) -> Settings:
    """Epochs of a few steps, the same at every repetition."""
    return Settings(
        network="custom", filters=(4,), dense=8, data=data, epochs=epochs, batch_size=32, fraction=0.2,
        precision="float32", deterministic=True, dropout=0.2,
    )  # fmt: skip


def kill_trainers(runs: Path, settings: Settings, kills: int, rng: random.Random) -> Counter:
    """Kill a run so often, most times soon after the first epoch that a trainer has done.

    Counts the kills by moment; raises `Lost` where something is. `runs` is CIFAR_LAB_RUNS; the run must have epochs
    enough for all kills, two for each.
    """
    spawn = multiprocessing.get_context("forkserver")
    spawn.set_forkserver_preload(["keras", "tensorflow"])  # what takes longest, once for all
    path, moments = runs / "killed", Counter()
    for number in range(kills):
        before = announced = _announced(path)
        trainer = spawn.Process(target=_train, args=(settings, path), daemon=True)
        trainer.start()
        _wait_until(lambda trainer=trainer: _state(path) == "running" and _pid(path) == trainer.pid, trainer)
        early = rng.random() < EARLY
        if not early:
            _wait_until(lambda before=before: _announced(path) > before, trainer)
        deadline = time.monotonic() + rng.uniform(0, LIFE)
        while time.monotonic() < deadline and trainer.is_alive():
            announced = _announced(path)
            time.sleep(0.002)
        if not trainer.is_alive():
            raise Lost(f"The run was over before kill {number + 1}: give it more epochs.")
        psutil.Process(trainer.pid).kill()
        trainer.join()
        moment = _check(path, announced)
        moments["before its first epoch" if early and _announced(path) == before else moment] += 1
        say(f"kill {number + 1} of {kills}: {_announced(path)} epochs are done")
    for name in ("killed", "whole"):
        trainer = spawn.Process(target=_train, args=(settings, runs / name), daemon=True)
        trainer.start()
        trainer.join()
        if _state(runs / name) != "finished":
            raise Lost(f"The run {name} is {_state(runs / name)}: {read_run(name).message}")
    _compare(path, runs / "whole", settings.epochs)
    return moments


def _train(settings: Settings, path: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    with contextlib.suppress(LabError):  # status.json tells
        train(settings, path, resume=(path / "settings.json").exists())


def _check(path: Path, announced: int) -> str:
    """What a killed trainer has left; in which moment that was."""
    run = read_run(path.name)
    if run.state != "interrupted" or not run.can_resume:
        raise Lost(f"After a kill the run is {run.state} ({run.message}) and can't be resumed.")
    state = path / "checkpoint" / "state.json"
    kept = read_json(state) if state.exists() else {"epoch": 0}
    if kept["epoch"] < announced:
        raise Lost(f"Epoch {announced} had been announced; the checkpoint is of epoch {kept['epoch']}.")
    if kept["epoch"]:
        with np.load(path / "checkpoint" / kept["weights"]) as arrays:
            if not all(np.isfinite(arrays[name]).all() for name in arrays.files):
                raise Lost("The checkpoint holds numbers that are none.")
    rows = [int(row["epoch"]) for row in history_rows(path)]
    if rows != list(range(1, len(rows) + 1)) or not kept["epoch"] <= len(rows) <= kept["epoch"] + 1:
        raise Lost(f"The checkpoint is of epoch {kept['epoch']}, the history has {rows}.")
    if (path / "model.keras").exists() and zipfile.ZipFile(path / "model.keras").testzip():
        raise Lost("The model is broken.")
    # A hidden file was being written; a row more than the checkpoint: between the two.
    if list(path.rglob(".*.npz")) or list(path.rglob(".*.keras")):
        return "while a file was written"
    return "between history and checkpoint" if len(rows) > kept["epoch"] else "within an epoch"


def _compare(killed: Path, whole: Path, epochs: int) -> None:
    for path in (killed, whole):
        if [row["epoch"] for row in history_rows(path)] != list(range(1, epochs + 1)):
            raise Lost(f"The history of {path.name} is not of epochs 1 to {epochs}.")
    columns = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    for one, other in zip(history_rows(killed), history_rows(whole), strict=True):
        if any(one[column] != other[column] for column in columns):
            raise Lost(f"Epoch {one['epoch']} differs: {one}, {other}.")
    if load_card(killed)["best_epoch"] != load_card(whole)["best_epoch"]:
        raise Lost("The best epochs differ.")
    parts = [zipfile.ZipFile(path / "model.keras").read("model.weights.h5") for path in (killed, whole)]
    arrays = [np.load(path / "checkpoint" / f"epoch-{epochs:03d}.npz") for path in (killed, whole)]
    same = all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0].files)
    if not same or len(parts[0]) != len(parts[1]):
        raise Lost("The network of the killed run is not that of a run which nobody has killed.")


def _state(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return json.loads((path / "status.json").read_text())["state"]
    return ""


def _pid(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return json.loads((path / "status.json").read_text())["pid"]
    return 0


def _announced(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(json.loads((path / "status.json").read_text()).get("epoch", 0))
    return 0


def _wait_until(ready, trainer) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if not trainer.is_alive() or time.monotonic() > deadline:
            raise Lost("A trainer ended, or hung, before the moment to kill it.")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
