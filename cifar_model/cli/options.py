"""Options that several commands share."""

from contextlib import suppress
from pathlib import Path

import click

from cifar_model.errors import ModelError, SettingsError
from cifar_model.models.layout import EPOCHS_FOLDER
from cifar_model.trust.answer_sets import LEVELS

model_option = click.option(
    "--model", default="lab-net", show_default=True, help="A bundled model, a run, RUN@EPOCH or a folder."
)
raw_option = click.option("--raw", is_flag=True, help="The network's own percentages, uncorrected.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
file_path = click.Path(path_type=Path)
sets_option = click.option(
    "--sets",
    "level",
    metavar="[90|95|99]",
    is_flag=False,
    flag_value="95",
    help="Name all classes that can't be ruled out; the right one is among them in so many of 100 pictures [95].",
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


LEVEL_CHOICES = tuple(map(str, LEVELS))


def check_level(level: str | None) -> None:
    if level not in (None, *LEVEL_CHOICES):
        raise SettingsError(f"Answer sets can be had at 90, 95 and 99 %. Received: --sets {level}.")


def check_fitted(classifier, *, sets: bool, scope: bool) -> None:
    """ModelError where a model lacks what is asked for; a note on stderr where a file came without its card."""
    if classifier.path.is_file() and classifier.path.parent.name != EPOCHS_FOLDER:
        click.echo(
            f"{classifier.path.name} came without a card.json beside it, so its percentages are uncalibrated: the "
            "network's own.",
            err=True,
        )
    missing = ["answer sets"] * (sets and not classifier.sets)
    missing += ["scope score"] * (scope and classifier.scope_threshold is None)
    if missing:
        raise ModelError(
            f"The model {classifier.name} has no {' and no '.join(missing)}. With CIFAR-10 at hand, a whole run gets "
            f"them by `python -m cifar_model assess {classifier.name}`."
        )
