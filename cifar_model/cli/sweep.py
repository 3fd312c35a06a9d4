"""``python -m cifar_model sweep``: train networks that differ in some settings, and compare them."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from cifar_model.cli.options import json_option, ray_option
from cifar_model.cli.output import show_table
from cifar_model.cli.progress import LINE_SECONDS, Display, progress_line
from cifar_model.cli.train import check_shape, data_or_mini
from cifar_model.cli.train import train as train_command
from cifar_model.data.find import find_source
from cifar_model.data.sources import MINI
from cifar_model.errors import SettingsError
from cifar_model.models.folder import find_model
from cifar_model.runs.estimate import estimate_time
from cifar_model.runs.read import RunInfo, list_runs, max_runs
from cifar_model.runs.remote import cluster_address
from cifar_model.runs.start import start_waiting
from cifar_model.runs.sweeps import (
    Sweep,
    in_words,
    make_runs,
    new_name,
    read_sweep,
    resume_sweep,
    start_sweep,
    stop_sweep,
    unfinished,
    validation_accuracy,
    value_in_words,
)
from cifar_model.runs.trials import FIELDS, SEARCHES, expand, is_whole, read_values
from cifar_model.text import duration, printable, share
from cifar_model.training.settings import Settings

LOOK_SECONDS = 0.5  # between two looks at the runs
SAMPLES = 10  # of a random search, where nobody says


def _options() -> list[click.Parameter]:
    """The options of `train` that are settings: each number and each choice takes several values here."""
    options = []
    settings = {item.name for item in dataclasses.fields(Settings)}
    for option in train_command.params:
        if option.name in FIELDS:
            choices = FIELDS[option.name].metadata.get("choices")
            if choices:
                metavar = f"[{'|'.join(choices)}],…"
            else:
                metavar = "LIST|FROM..TO" if is_whole(option.name) else "LIST"
            options.append(click.Option(option.opts, metavar=metavar, help=option.help))
        elif option.name in settings:
            options.append(option)
    return options


@click.command()
@click.option("--search", type=click.Choice(SEARCHES), help="All combinations, or some at random [default: grid].")
@click.option("--samples", type=int, help=f"How many trainings a random search draws [default: {SAMPLES}].")
@click.option("--search-seed", type=int, help="The same seed draws the same trainings [default: 0].")
@click.option("--name", help="Name of the sweep; its runs are NAME-01 and so on [default: a free one, like sweep-1].")
@click.option("--resume", metavar="NAME", help="Go on with what a sweep has not finished, and follow it.")
@click.option("--stop", metavar="NAME", help="Stop all runs of a sweep.")
@ray_option
@click.option("--cpus", type=click.IntRange(1), help="With --ray: CPUs of each training [default: 1].")
@click.option(
    "--gpus", type=click.FloatRange(0), help="With --ray: GPUs of each training, or a share of one [default: 0]."
)
@click.option(
    "--stop-early",
    is_flag=True,
    help="With --ray: stop trainings that fall behind the others at the same epoch (ASHA).",
)
@json_option
def sweep(
    search: str | None, samples: int | None, search_seed: int | None, name: str | None, resume: str | None,
    stop: str | None, ray: str | None, cpus: int | None, gpus: float | None, stop_early: bool, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Train networks that differ in some settings, and compare them.

    Every number and every choice takes a list, like --learning-rate 1e-3,3e-3,1e-2, and a whole number also a range,
    like --seed 0..2. Each combination is trained as an ordinary run. With --search random any number takes a range,
    like 1e-4..1e-1: learning rates are drawn uniformly in their logarithm, all others uniformly.

    The runs wait in the queue, where a sweep counts as one and lets single runs pass; Ctrl-C leaves them there. With
    --ray this command itself has as many trained at a time as the machines have room for, and Ctrl-C ends them. At the
    end all are listed by validation accuracy; the exit code is 1 where one did not finish.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if ray is None and (stop_early or cpus is not None or gpus is not None):
        raise SettingsError(
            "--stop-early, --cpus and --gpus need Ray, which runs several trainings at a time: add --ray "
            "(python -m pip install -r requirements-ray.txt)."
        )
    if resume or stop:
        planned = {"search": search, "samples": samples, "search_seed": search_seed, "name": name, **given}
        if (resume and stop) or any(value is not None for value in planned.values()):
            raise SettingsError("--resume and --stop take a sweep as it was planned: give no settings beside them.")
        if stop:
            return _stopped(stop, stop_sweep(stop), as_json)
        name, trials, varied = resume, [], []
        read_sweep(name)
    else:
        trials, varied = _plan(given, search or SEARCHES[0], samples, search_seed)
        name = name or new_name()
    if ray is not None:
        _train_with_ray(name, trials, varied, ray, cpus or 1, gpus or 0.0, stop_early)
        return _show(read_sweep(name), as_json, again=" --ray" + " --stop-early" * stop_early)
    if resume:
        _say(_going_on(resume_sweep(name)))
    else:
        counted = f"{len(trials)} trainings on a cluster" if cluster_address() else _counted(trials, max_runs())
        _say(f"{counted}: {name}, varying {_and(varied)}")
        start_sweep(name, trials, varied)
    try:
        ended = _follow(name)
    except KeyboardInterrupt:
        return _say(
            f"\n{name} goes on by itself. Follow it again: python -m cifar_model sweep --resume {name}\n"
            f"Stop it: python -m cifar_model sweep --stop {name}"
        )
    _show(ended, as_json)


sweep.params[:0] = _options()


def _plan(
    given: dict[str, Any], search: str, samples: int | None, search_seed: int | None
) -> tuple[list[Settings], list[str]]:
    """The trainings that were asked for, and which settings vary in them; SettingsError before anything starts."""
    if search == "grid" and (samples is not None or search_seed is not None):
        raise SettingsError("--samples and --search-seed belong to --search random: a grid has every combination.")
    values = {field: read_values(field, text) for field, text in given.items() if field in FIELDS}
    fixed = {field: value for field, value in given.items() if field not in FIELDS}
    samples = SAMPLES if samples is None else samples
    fixed["data"] = data_or_mini(fixed.get("data"), err=True)
    trials = expand(fixed, values, search=search, samples=samples, seed=search_seed or 0)
    for settings in trials:
        check_shape(settings.network, given)
    find_source(trials[0].data, mini=trials[0].data == MINI)
    if trials[0].start_from:
        find_model(trials[0].start_from)
    return trials, [field for field in values if len({getattr(settings, field) for settings in trials}) > 1]


def _train_with_ray(
    name: str, trials: list[Settings], varied: list[str], ray: str, cpus: int, gpus: float, stop_early: bool
) -> None:
    """Train a new sweep, or what is unfinished of one (no `trials`), and show how it goes."""
    from cifar_model.cluster.connect import address_of
    from cifar_model.cluster.sweep import places_for, train_trials

    address = address_of(ray)
    settings = trials or [Settings.from_dict(run.settings) for run in unfinished(read_sweep(name))]
    if not settings:
        return _say(_going_on([]))
    with places_for(settings, address, cpus=cpus, gpus=gpus) as places:
        if trials:
            runs = make_runs(name, trials, varied, queue=False)
            at_a_time = f"{min(places.at_a_time, len(runs))} at a time"
            _say(f"{_counted(trials, places.speedup)}, {at_a_time}: {name}, varying {_and(varied)}")
        else:
            runs = resume_sweep(name, queue=False)
            _say(_going_on(runs))
        with SweepDisplay() as display:
            train_trials(name, runs, places, stop_early=stop_early, look=lambda: display(read_sweep(name)))
            display(read_sweep(name))


def _and(varied: Sequence[str]) -> str:
    return ", ".join(varied).replace("_", " ")


def _counted(trials: Sequence[Settings], speedup: float) -> str:
    """How many trainings, and how long they may take, so many times sooner than one after another."""
    found = list_runs()
    estimates = [estimate_time(settings, found) for settings in trials]
    seconds = sum(each.seconds for each in estimates) / min(speedup, len(trials))
    rough = "" if all(each.measured for each in estimates) else " (a rough estimate)"
    return f"{len(trials)} trainings, about {duration(seconds)}{rough}"


def _going_on(names: list[str]) -> str:
    return f"Goes on with {', '.join(names)}." if names else "There is nothing to go on with."


def _stopped(name: str, names: list[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"sweep": name, "stopped": names}))
    else:
        click.echo(f"Stopped: {', '.join(names) or 'no run'}. To go on: python -m cifar_model sweep --resume {name}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _follow(name: str) -> Sweep:
    """Show a sweep until none of its runs trains or waits, and start those whose turn has come."""
    with SweepDisplay() as display:
        while True:
            start_waiting()
            display(found := read_sweep(name))
            if not found.is_live:
                return found
            time.sleep(LOOK_SECONDS)


def _show(ended: Sweep, as_json: bool, *, again: str = "") -> None:
    """The trials by validation accuracy, and what to do with the best; `again`: options with which it is resumed."""
    if as_json:
        plain = {"sweep": ended.name, "varied": ended.varied, "trials": [_plain(run) for run in ended.ranked]}
        click.echo(json.dumps(plain, indent=2))
    else:
        titles = [field.replace("_", " ").upper() for field in ended.varied]
        show_table(
            ("RUN", "STATE", *titles, "EPOCH", "VALIDATION", "TEST"),
            [_row(run, ended.varied) for run in ended.ranked],
            left=2,
        )
    bad = [run for run in ended.runs if run.state in ("failed", "interrupted")]
    for run in bad:
        _say(f"{run.name} {'failed' if run.state == 'failed' else 'was interrupted'}: {run.message}")
    if (best := ended.best) and best.has_model and not as_json:
        click.echo(f"The best: {best.name} ({in_words(best.settings, ended.varied)})")
        click.echo(f"Use it: python -m cifar_model classify --model {best.name} PICTURES")
    if unfinished(ended):
        _say(f"Go on with what is unfinished: python -m cifar_model sweep --resume {ended.name}{again}")
        raise click.exceptions.Exit(1)


def _row(run: RunInfo, varied: Sequence[str]) -> tuple[str, ...]:
    return (
        run.name,
        run.state,
        *(value_in_words(run.settings[field]) for field in varied),
        f"{len(run.history)}/{run.settings['epochs']}",
        share(validation_accuracy(run)),
        share(run.test_accuracy),
    )


def _plain(run: RunInfo) -> dict[str, Any]:
    return {
        "run": run.name,
        "trial": run.sweep["trial"],
        "state": run.state,
        "message": run.message,
        "settings": run.settings,
        "epochs": len(run.history),
        "validation_accuracy": validation_accuracy(run),
        "test_accuracy": run.test_accuracy,
    }


class SweepDisplay(Display):
    """How the trials of a sweep go, on stderr: a bar for each that trains on a terminal, plain lines elsewhere."""

    err = True

    def __init__(self):
        super().__init__()
        self.tasks, self.states, self.said = {}, {}, {}

    def __enter__(self):
        if sys.stderr.isatty():
            from rich.console import Console  # slow to import
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self.bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self.bar.start()
        return self

    def __call__(self, sweep: Sweep) -> None:
        """Show a sweep as it stands now."""
        waiting = sum(run.state == "queued" for run in sweep.runs)
        is_time = not self.bar and self.is_time(LINE_SECONDS)
        for run in sweep.runs:
            before, self.states[run.name] = self.states.get(run.name), run.state
            if run.state != before and not run.is_live:
                self._end(run, waiting)
            if not run.progress or run.state not in ("running", "paused"):
                continue
            now = run.progress
            if self.bar:
                if run.name not in self.tasks:
                    title = f"{run.name}: {in_words(run.settings, sweep.varied)}"
                    self.tasks[run.name] = self.bar.add_task(title, total=now["epochs"] * now["steps"], text="")
                done = (now["epoch"] - 1) * now["steps"] + now["step"]
                text = f"epoch {now['epoch']}/{now['epochs']}, accuracy {share(now['accuracy'])}"
                self.bar.update(self.tasks[run.name], completed=done, text=text)
            elif is_time and now != self.said.get(run.name):
                self.said[run.name] = now
                self.say(f"{run.name}: {progress_line(now)}")

    def _end(self, run: RunInfo, waiting: int) -> None:
        if run.name in self.tasks:
            self.bar.remove_task(self.tasks.pop(run.name))
        accuracy = validation_accuracy(run)
        score = "" if accuracy is None else f", validation accuracy {share(accuracy)}"
        rest = f" ({waiting} to come)" if waiting else ""
        self.say(f"{run.name} {printable(run.state)}{score}{rest}")
