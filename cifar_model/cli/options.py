"""Options that several commands share."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cifar_model.answering.engines import LITERT
from cifar_model.errors import LabError, ModelError
from cifar_model.models.compiled import can_compile, compile_model
from cifar_model.models.layout import EPOCHS_FOLDER
from cifar_model.pictures.folders import IMAGE_SUFFIXES
from cifar_model.trust.answer_sets import LEVELS

if TYPE_CHECKING:
    from cifar_model.answering.classifier import Classifier

model_option = click.option(
    "--model", default="lab-net", show_default=True, help="A bundled model, a run, RUN@EPOCH or a folder."
)
raw_option = click.option("--raw", is_flag=True, help="The network's own softmax, without calibration.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
file_path = click.Path(path_type=Path)


class Level(click.Choice):
    """A level of answer sets; whoever writes a picture there is told where pictures stand."""

    def __init__(self):
        super().__init__([str(level) for level in LEVELS])

    def convert(self, value, param, ctx):
        if value not in LEVELS and str(value) not in self.choices and Path(value).exists():
            self.fail(f"{value} is a file or folder: name it before --sets, or write --sets 95 {value}.", param, ctx)
        return int(super().convert(str(value), param, ctx))


class CsvTarget(click.Path):
    """A file to write CSV into, or "-" for standard output; never over a picture."""

    def __init__(self):
        super().__init__(path_type=Path, allow_dash=True)

    def convert(self, value, param, ctx):
        if str(value) != "-" and (Path(value).is_dir() or str(value).lower().endswith(IMAGE_SUFFIXES)):
            self.fail(f"{value} is no file for CSV. Pictures stand before --csv: {value} --csv", param, ctx)
        return super().convert(value, param, ctx)


sets_option = click.option(
    "--sets",
    "level",
    metavar="[90|95|99]",
    type=Level(),
    is_flag=False,
    flag_value="95",
    help="Name every class that can't be ruled out; the true one is among them 95 % of the time, or as often as given.",
)


class Share(click.FloatRange):
    """A number from 0 to 1; whoever writes 40 or "40%" is asked whether it was to be 0.4."""

    name = "share"

    def __init__(self):
        super().__init__(0, 1)

    def convert(self, value, param, ctx):
        text = str(value).strip()
        with suppress(ValueError):
            number = float(text.removesuffix("%"))
            if 1 < number <= 100 or text.endswith("%"):
                self.fail(f"{text} is not in 0…1: did you mean {number / 100:g}?", param, ctx)
        return super().convert(value, param, ctx)


class RayAddress(click.ParamType):
    """The address of a Ray cluster, "" for RAY_ADDRESS or this machine alone; `cluster.connect.address_of` reads it."""

    name = "address"

    def convert(self, value, param, ctx):
        if value and Path(value).exists():
            self.fail(f"{value} is a file or folder: name it before --ray, or write --ray local {value}.", param, ctx)
        return value


ray_option = click.option(
    "--ray",
    metavar="[ADDRESS]",
    type=RayAddress(),
    is_flag=False,
    flag_value="",
    help="Share the work out with Ray: a cluster's HOST:PORT, else RAY_ADDRESS, else the CPUs of this machine.",
)


def keep_compiled(classifier: "Classifier") -> None:
    """Compile the model once somebody at a terminal has their answers: the next ones then need no TensorFlow."""
    if classifier.engine == LITERT or not can_compile() or not sys.stderr.isatty():
        return
    click.echo(f"Compiling {classifier.name}, once, so that it answers at once the next time …", err=True)
    with suppress(LabError):
        compile_model(classifier.path, classifier.network)


def check_fitted(classifier, *, sets: bool, scope: bool) -> None:
    """ModelError where a model lacks what is asked for; a note on stderr where a file came without its card."""
    if classifier.path.is_file() and classifier.path.parent.name != EPOCHS_FOLDER:
        click.echo(
            f"There is no card.json beside {classifier.path.name}, so its percentages are not calibrated: they are the "
            "network's own softmax.",
            err=True,
        )
    missing = ["answer sets"] * (sets and not classifier.sets)
    missing += ["scope score"] * (scope and classifier.scope_threshold is None)
    if missing:
        raise ModelError(
            f"The model {classifier.name} has no {' and no '.join(missing)}. For a whole run, if CIFAR-10 is there, "
            f"`python -m cifar_model assess {classifier.name}` makes them."
        )
