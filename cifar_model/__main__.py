"""The command line: ``python -m cifar_model COMMAND``. Each command's module is imported when it is called."""

import importlib
import os
import sys

import click

from cifar_model import __version__
from cifar_model.errors import LabError

# Command: its module in cifar_model.cli, and the line that `--help` shows.
COMMANDS = {
    "data": ("data", "Find CIFAR-10, or download it."),
    "distill": ("distill", "Make the synthetic images that stand in for CIFAR-10."),
    "train": ("train", "Train a network and keep it as a run."),
    "sweep": ("sweep", "Train networks that differ in some settings, and compare them."),
    "runs": ("runs", "List training runs; show, follow, pause, resume or stop one."),
    "clean": ("clean", "Show what runs and caches take on disk, and delete old ones."),
    "classify": ("classify", "Say what pictures show."),
    "evaluate": ("evaluate", "Score a model on CIFAR-10's test images."),
    "mistakes": ("mistakes", "List the test images that a model gets wrong, or on which two disagree."),
    "inside": ("inside", "Draw a network's filters and maps; find the most similar training images."),
    "card": ("card", "Say in plain words what a model is and how far to trust it."),
    "assess": ("assess", "Measure again how far to trust a model, and write it into its card."),
    "import": ("import_", "Import a model of your own: Keras, SavedModel, LiteRT or ONNX."),
    "export": ("export", "Export a model for other programs: LiteRT, ONNX, SavedModel, HDF5 or Keras."),
    "blend": ("blend", "Mix two pictures and see what a model predicts."),
}


class _Group(click.Group):
    def list_commands(self, context):
        return list(COMMANDS)

    def get_command(self, context, name):
        if name not in COMMANDS:
            return None
        module = COMMANDS[name][0]
        return getattr(importlib.import_module(f"cifar_model.cli.{module}"), module)

    def format_commands(self, context, formatter):
        # From the table, so that --help imports no command.
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, context):
        try:
            return super().invoke(context)
        except LabError as error:
            click.echo(f"Error: {error}", err=True)
            context.exit(error.exit_code)
        except BrokenPipeError:  # `… | head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            context.exit(1)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="cifar_model")
def main():
    """CIFAR-10 lab: train small image classifiers, try them on pictures, and see how far to trust them."""
    for stream in (sys.stdout, sys.stderr):
        # A console of another code page shows "?" for what it lacks, and the command goes on.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main(prog_name="python -m cifar_model")
