"""``python -m cifar_model train``: train in this process, and show it as it goes."""

import dataclasses
import shlex
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import click

from cifar_model.cli.progress import TrainingDisplay
from cifar_model.data.distilled import describe_mini
from cifar_model.data.find import find_source
from cifar_model.data.sources import MINI
from cifar_model.errors import DatasetError, LabError, RunError, SettingsError
from cifar_model.models.card import Card
from cifar_model.networks.choices import NETWORKS, OPTIMIZERS, RECIPES
from cifar_model.runs.disk import check_quota
from cifar_model.runs.hold import is_held
from cifar_model.runs.memory import check_memory
from cifar_model.runs.names import check_name, new_name
from cifar_model.runs.read import ahead_of, max_runs, read_run
from cifar_model.runs.start import check_resumable, claim, commands_to_go_on, start_waiting
from cifar_model.storage import read_json, runs_dir
from cifar_model.text import share
from cifar_model.training.finish import learned_nothing
from cifar_model.training.settings import LIMITS, PRECISIONS, Settings
from cifar_model.training.train import train as train_run


def _limits(field: str) -> str:
    low, high = LIMITS[field]
    return f"{low:g} to {high:g}"


def _filters(context, parameter, value):
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list like 32,64,64.") from None


@click.command()
@click.option("--network", type=click.Choice(list(NETWORKS)), help="[default: lab-net]")
@click.option("--recipe", type=click.Choice(list(RECIPES)), help="Named settings [default: quick].")
@click.option("--epochs", type=int, help=f"Passes over the training images, {_limits('epochs')}.")
@click.option("--batch-size", type=int, help=f"Images a step, {_limits('batch_size')}.")
@click.option("--learning-rate", type=float, help=f"Peak learning rate, {_limits('learning_rate')}.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)))
@click.option("--augment/--no-augment", default=None, help="Mirror, shift and cut out the images at random.")
@click.option("--fraction", type=float, help=f"Share of the training images to train on, {_limits('fraction')}.")
@click.option("--validation", type=float, help="Share of the training images held out [default: 0.1].")
@click.option("--seed", type=int, help="The same seed draws the same random numbers [default: 0].")
@click.option("--precision", type=click.Choice(PRECISIONS), help="[default: auto, the faster one]")
@click.option("--deterministic", is_flag=True, default=None, help="Exactly the same weights each time; slower.")
@click.option("--filters", callback=_filters, help="custom network: filters of each block, like 32,64,64.")
@click.option("--dropout", type=float, help=f"custom network: dropout rate, {_limits('dropout')}.")
@click.option("--dense", type=int, help=f"custom network: units of the dense layer, {_limits('dense')}.")
@click.option(
    "--data",
    metavar="DIR",
    help="Folder or archive with CIFAR-10, or mini: the distilled images that ship with this project "
    "[default: CIFAR10_DIR, else Keras's cache, else mini].",
)
@click.option("--start-from", metavar="MODEL", help="Start from the weights of this model, run or RUN@EPOCH.")
@click.option(
    "--outliers",
    metavar="cifar100|DIR|none",
    help="Also train on images of other things, so that the network is unsure of them: CIFAR-100, or a folder "
    "[default: none].",
)
@click.option(
    "--mixup",
    type=float,
    metavar="ALPHA",
    help="Also train on blends of two images with blended targets, drawn from Beta(ALPHA, ALPHA); 0 for none, 1 for "
    "all ratios alike [default: 0].",
)
@click.option(
    "--early-stopping",
    type=int,
    metavar="PATIENCE",
    help="Stop when the validation accuracy has not improved for so many epochs; 0 for never [default: 0].",
)
@click.option("--run", "name", help="Name of the run [default: a free one, like lab-net-quick-1].")
@click.option(
    "--resume",
    metavar="NAME",
    help="Continue a run that was stopped, failed or killed, at another --learning-rate if you like; a finished one "
    "with more --epochs.",
)
@click.option("--queue", is_flag=True, help="Wait for a turn while other runs train.")
def train(name, resume, queue, **options):
    """Train a network on CIFAR-10 and keep it as a run.

    Loss and accuracy are shown as they become known. Ctrl-C stops the training and keeps the best network so far. To
    control it from another terminal: `python -m cifar_model runs`.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if resume:
        if given.keys() - {"epochs", "learning_rate", "data"} or name:
            raise SettingsError(
                "--resume continues with the run's own settings. Give no other option but --epochs, --learning-rate, "
                "--data (where the same data is now) and --queue."
            )
        name, path = resume, _resumable(resume, given.get("epochs"))
        stored = read_json(path / "settings.json")
        settings, command = Settings.from_dict(stored.get("settings", {})), stored.get("command", "")
        _check_data(name, settings, given.get("data"))
        if (changed := dataclasses.replace(settings, **given)) != settings:
            settings = changed
            more = [part for key, value in given.items() for part in ("--" + key.replace("_", "-"), str(value))]
            command = f"{command} && {shlex.join(['python', '-m', 'cifar_model', 'train', '--resume', name, *more])}"
    else:
        settings = Settings(**given)
        check_shape(settings.network, given)
        settings = Settings(**given | {"data": data_or_mini(settings.data)})
        name = check_name(name) if name else new_name(settings)
        path = _unused(name)
        command = shlex.join(["python", "-m", "cifar_model", "train", *settings.to_argv(), "--run", name])
    check_quota()
    check_memory(settings, waits=queue)
    begun = claim(name, queue=queue)

    def ahead() -> list[str]:
        start_waiting()  # those before it, if nobody else does
        names = [run.name for run in ahead_of(name)]
        if is_held():
            return names or ["the end of the pause for all"]
        return names if len(names) >= max_runs() else []

    if settings.data == MINI:
        click.echo(describe_mini(settings.network))
    with TrainingDisplay() as display:
        display("note", {"message": f"Run {name}, in {path}"})
        try:
            card = train_run(
                settings,
                path,
                resume=bool(resume),
                command=command,
                report=display,
                ahead=ahead if queue else list,
                begun=begun,
            )
        finally:
            with suppress(LabError):
                start_waiting()
    if card:
        click.echo(_outcome(card))
        if problem := learned_nothing(card):
            click.echo(problem)
        click.echo(f"Use it: python -m cifar_model classify --model {name} PICTURES")
        if read_run(name).state == "finished":
            click.echo("Train it further:")
            for line in commands_to_go_on(name, settings.to_dict()):
                click.echo(f"  {line}")


def check_shape(network: str, given: Collection[str]) -> None:
    """SettingsError where options for a shape of one's own were given to a network that has a fixed one."""
    for field in ("filters", "dropout", "dense"):
        if field in given and network != "custom":
            raise SettingsError(
                f"--{field} is for --network custom only: {network} has a fixed shape. "
                f"Leave it out, or add --network custom."
            )


def data_or_mini(data: str | None, *, err: bool = False) -> str | None:
    """What to train on: as given, or, having said so, the distilled images where CIFAR-10 is not on this machine."""
    if data is not None or find_source(mini=True).kind != MINI:
        return data
    click.echo("CIFAR-10 is not on this machine: training on the distilled images instead.", err=err)
    click.echo("To download CIFAR-10: python -m cifar_model data --download\n", err=err)
    return MINI


def _outcome(card: Card) -> str:
    """The score that a run ended with, in words."""
    scores = card.scores
    if scores.test_accuracy is not None:
        score = f"Test accuracy {share(scores.test_accuracy, 2)}, loss {scores.test_loss:.4f}"
        return f"{score} ({card.data.test:,} images)."
    return (
        f"Validation accuracy {share(scores.validation_accuracy, 2)}, on synthetic images. To score it on real ones "
        f"(needs CIFAR-10): python -m cifar_model evaluate --model {card.name}"
    )


def _unused(name: str) -> Path:
    # A run started by the app has its directory already, with nothing but the launcher's notes in it.
    path = runs_dir() / name
    if (path / "settings.json").exists():
        raise RunError(f"A run named {name!r} exists already: choose another --run, or --resume {name}.")
    return path


def _check_data(name: str, settings: Settings, moved_to: str | None) -> None:
    """Raise where a run's data can't be found any more, with what to do, or where it would go on with other data."""
    if moved_to and (moved_to == MINI) != (settings.data == MINI):
        began = "the distilled images" if settings.data == MINI else "CIFAR-10"
        raise SettingsError(f"The run {name!r} trains on {began} and can't continue on other data: start a new run.")
    try:
        find_source(moved_to or settings.data, mini=settings.data == MINI)
    except DatasetError as error:
        raise DatasetError(
            f"{error}\nIf the data has moved: python -m cifar_model train --resume {name} --data WHERE"
        ) from None


def _resumable(name: str, epochs: int | None) -> Path:
    run = read_run(name)
    check_resumable(run, epochs)
    return run.path
