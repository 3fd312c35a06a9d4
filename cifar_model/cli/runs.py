"""`runs`: list training runs and control them while they train, from any terminal on the same machine."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext, suppress
from typing import Any

import click

from cifar_model.cli.output import show_table
from cifar_model.cli.progress import TrainingDisplay, epoch_line, progress_line
from cifar_model.errors import LabError, RunError
from cifar_model.runs import change, start
from cifar_model.runs import follow as runs_follow
from cifar_model.runs.change import request
from cifar_model.runs.hold import hold_all
from cifar_model.runs.read import RunInfo, ahead_of, list_runs, read_run
from cifar_model.storage import runs_dir
from cifar_model.text import listed, share

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
_name = click.argument("name")


@click.group(invoke_without_command=True)
@_as_json
@click.pass_context
def runs(context: click.Context, as_json: bool) -> None:
    """List training runs; show, follow and control one."""
    with suppress(LabError):
        start.start_waiting()
    if context.invoked_subcommand:
        return
    found = list_runs()
    if as_json:
        click.echo(json.dumps([_plain(run) for run in found], indent=2))
    elif not found:
        click.echo(f"No runs yet in {runs_dir()}. Start one: python -m cifar_model train --recipe quick")
    else:
        columns, rows = ("NAME", "STATE", "EPOCH", "VALIDATION", "STARTED"), map(_row, found)
        if any(run.sweep for run in found):
            columns, rows = (*columns, "SWEEP"), [(*_row(run), run.sweep.get("name", "")) for run in found]
        show_table(columns, rows, left=2)


@runs.command()
@_name
@_as_json
def show(name: str, as_json: bool) -> None:
    """Settings, state and results of a run."""
    run = read_run(name)
    if as_json:
        return click.echo(json.dumps(_plain(run), indent=2))
    click.echo(f"{run.name}: {run.state}" + (f" ({run.message})" if run.message else ""))
    if run.state == "queued" and not run.message:
        click.echo(f"waiting for: {listed([other.name for other in ahead_of(name)]) or 'its turn'}")
    click.echo(f"folder:   {run.path}")
    click.echo(f"command:  {run.command}")
    if run.sweep:
        click.echo(f"sweep:    {run.sweep['name']}, trial {run.sweep['trial']} of {run.sweep.get('of', '?')}")
    click.echo("settings: " + ", ".join(f"{key} {value}" for key, value in run.settings.items()))
    if run.is_live and run.progress:
        click.echo(progress_line(run.progress))
    for row in run.history:
        click.echo(epoch_line(row))


@runs.command()
@_name
@_as_json
def follow(name: str, as_json: bool) -> None:
    """Show a run's progress until it ends. Ctrl-C leaves the run training."""
    state = "?"
    try:
        with nullcontext() if as_json else TrainingDisplay(every=0) as display:
            for kind, item in runs_follow.follow(name):
                if as_json:
                    click.echo(json.dumps({"kind": kind, **item}))
                    sys.stdout.flush()
                else:
                    display(kind, item if kind != "state" else {"message": _state_line(item)})
                state = item["state"] if kind == "state" else state
    except KeyboardInterrupt:
        click.echo(f"\n{name} keeps training.", err=True)
        return
    if state in ("failed", "interrupted"):
        raise RunError(f"The run {name!r} {'failed' if state == 'failed' else 'was interrupted'}.")


@runs.command()
@_name
@_as_json
def pause(name: str, as_json: bool) -> None:
    """Pause a run until `runs resume`; after half an hour it stops, and can be continued."""
    _ask(name, "pause", as_json)


@runs.command()
@_name
@click.option("--queue", is_flag=True, help="Wait for a turn while other runs train.")
@click.option("--epochs", type=int, help="Epochs in all; with more than before, a finished run continues too.")
@_as_json
def resume(name: str, queue: bool, epochs: int | None, as_json: bool) -> None:
    """Resume a paused run, or continue one that was stopped or interrupted."""
    if read_run(name).is_live:
        return _ask(name, "resume", as_json)
    start.resume_run(name, epochs=epochs, queue=queue)
    _said(name, "resume", True, f"{name} continues after its last finished epoch.", as_json)


@runs.command()
@_name
@_as_json
def stop(name: str, as_json: bool) -> None:
    """Stop a run and keep its best model so far."""
    _ask(name, "stop", as_json)


@runs.command("set-lr")
@_name
@click.argument("rate", type=float)
@_as_json
def set_lr(name: str, rate: float, as_json: bool) -> None:
    """Change the learning rate of a run while it trains."""
    _ask(name, "set-lr", as_json, rate)


@runs.command()
@_name
@click.argument("new")
@_as_json
def rename(name: str, new: str, as_json: bool) -> None:
    """Rename a run that isn't training."""
    change.rename(name, new)
    _said(new, "rename", True, f"{name} is now {new}.", as_json)


@runs.command()
@_name
@click.option("--yes", is_flag=True, help="Don't ask.")
@_as_json
def delete(name: str, yes: bool, as_json: bool) -> None:
    """Delete a run that isn't training, with its models, for good."""
    run = read_run(name)
    if not yes:
        click.confirm(f"Delete {run.path} for good?", abort=True)
    change.delete(name)
    _said(name, "delete", True, f"{name} is deleted.", as_json)


@runs.command()
@_as_json
def hold(as_json: bool) -> None:
    """Pause all training on this machine, and start none until `runs release`."""
    _for_all("hold", hold_all(), "paused", as_json)


@runs.command()
@_as_json
def release(as_json: bool) -> None:
    """Resume the runs that `runs hold` paused."""
    _for_all("release", start.release_all(), "resumed", as_json)


def _for_all(action: str, names: list[str], what: str, as_json: bool) -> None:
    sentence = f"{what}: {', '.join(names) or 'no run'}."
    click.echo(json.dumps({"action": action, "runs": names}) if as_json else sentence)


def _ask(name: str, action: str, as_json: bool, value: float | None = None) -> None:
    taken = request(name, action, value, wait=3)
    state = "done" if taken else "takes effect after the current step"
    _said(name, action, taken, f"{action} {name}: {state}.", as_json)


def _said(name: str, action: str, done: bool, sentence: str, as_json: bool) -> None:
    click.echo(json.dumps({"run": name, "action": action, "done": done}) if as_json else sentence)


def _plain(run: RunInfo) -> dict[str, Any]:
    return {
        "name": run.name,
        "path": str(run.path),
        "state": run.state,
        "message": run.message,
        "created": run.created,
        "command": run.command,
        "settings": run.settings,
        "sweep": run.sweep.get("name"),
        "status": run.status,
        "progress": run.progress,
        "history": [{key: value if value == value else None for key, value in row.items()} for row in run.history],
    }


def _row(run: RunInfo) -> tuple[str, ...]:
    epochs = run.settings.get("epochs", "?")
    best = share(max(known)) if (known := run.column("val_accuracy")) else ""
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created))
    return run.name, run.state, f"{run.status.get('epoch', 0)}/{epochs}", best, started


def _state_line(status: dict[str, Any]) -> str:
    return f"{status['state']}" + (f": {status['message']}" if status.get("message") else "")
