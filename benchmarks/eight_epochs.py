"""lab-net's accuracy after eight epochs over all training data, next to a PyTorch speed-run network."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks._common import Table, benchmark, data_option, say_epochs, settings_of, temporary_run

SPEEDRUN = Path(__file__).with_name("torch_speedrun.py")


@benchmark
@data_option
@click.option("--epochs", type=click.IntRange(1), default=8, show_default=True)
@click.option("--recipe", type=click.Choice(["full", "quick"]), default="quick", show_default=True)
@click.option("--batch-size", type=int, default=500, show_default=True, help="Of lab-net's training.")
@click.option("--validation", type=float, default=0.02, show_default=True, help="Held out; the rest is learned from.")
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Share of the training data, for a try.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="lab-net's trainings: 0, 1, …")
@click.option(
    "--torch-python",
    default=sys.executable,
    help="A Python that has torch and numpy, in an environment of its own if you like [default: this one].",
)
@click.option("--torch/--no-torch", default=True, help="Run PyTorch's side too [default: if installed].")
def main(data, epochs, recipe, batch_size, validation, fraction, seeds, torch_python, torch):
    """Eight epochs: test accuracy of one view and averaged, and seconds of training, mean and spread over seeds.

    Next to it, if torch is installed, a network and recipe written after the CIFAR-10 speed-run with Muon
    (airbench94_muon; Jordan 2024, arXiv:2404.00498) for as many epochs over the same pictures, once.
    Wanted: at least 94.0 % averaged, and no slower than PyTorch.
    """
    from cifar_model.data.cache import load_cifar10
    from cifar_model.data.split import split_by_content

    table = Table(
        f"After {epochs} epochs",
        ["network", "pictures learned from", "training s", "single view %", "averaged %", "time over PyTorch's"],
    )
    options = {"epochs": epochs, "batch_size": batch_size, "validation": validation, "fraction": fraction}
    runs = [_lab_net(recipe, seed=seed, data=data, **options) for seed in range(seeds)]
    n, seconds = runs[0]["data"]["train"], float(np.mean([run["seconds"] for run in runs]))

    (images, labels), test = load_cifar10(data)
    chosen = split_by_content(images, validation, fraction).train
    other = torch and torch_speedrun(torch_python, images[chosen], labels[chosen], test, epochs)
    name = f"lab-net, {recipe}, batches of {batch_size}, {runs[0]['precision']}"
    scores = [run["scores"] for run in runs]
    averaged = np.array([100 * each["test_accuracy"] for each in scores])
    single = np.array([100 * each.get("test_accuracy_single_view", each["test_accuracy"]) for each in scores])
    if seeds > 1:
        for seed, run in enumerate(runs):
            table.add(f"{name}, seed {seed}", n, run["seconds"], single[seed], averaged[seed], None)
        table.notes.append(
            f"Standard deviation over the {seeds} seeds: {single.std(ddof=1):.2f} points (single view), "
            f"{averaged.std(ddof=1):.2f} (averaged)."
        )
        name += f", mean of {seeds} seeds"
    table.add(name, n, seconds, single.mean(), averaged.mean(), seconds / other["seconds"] if other else None)
    if other:
        table.add(
            f"airbench94_muon after the paper, PyTorch {other['torch']}, {other['precision']}",
            n,
            other["seconds"],
            100 * other["single"],
            100 * other["averaged"],
            1.0,
        )
    elif torch:
        table.notes.append(
            f"torch is not installed for {torch_python}: left out. Give --torch-python a Python that has it."
        )
    table.notes.append(
        "Averaged: lab-net over a picture and its mirror image; PyTorch over mirror images and shifts, 6 views. "
        "lab-net's seconds include its validation and the saving of every epoch, PyTorch's are training alone. "
        "lab-net's score is that of its best epoch by validation accuracy, as it would ship."
    )
    return table


def _lab_net(recipe: str, *, seed: int, **options) -> dict:
    """The card of a training."""
    from cifar_model.training.train import train

    settings = settings_of("lab-net", recipe, seed=seed, **options)
    with temporary_run() as run:
        return train(settings, run, report=say_epochs(f"lab-net, seed {seed}")).stored


def torch_speedrun(python, images, labels, test, epochs) -> dict | None:
    """Results of torch_speedrun.py under another Python; None where that has no torch."""
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        return None
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        pictures = Path(folder) / "pictures.npz"
        np.savez(pictures, images=images, labels=labels, test_images=test[0], test_labels=test[1])
        # Its progress goes to stderr, which passes through.
        command = [python, str(SPEEDRUN), str(pictures), str(epochs), "0"]  # its seed
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


if __name__ == "__main__":
    main()
