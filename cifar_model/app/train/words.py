"""Explanations, names of states, sizes and times that the sections of Train share."""

from __future__ import annotations

from typing import Any

LIVE_SECONDS = 0.5  # between two looks at a run that trains
IDLE_SECONDS = 2.0  # between two looks for runs that others start
CHART_HEIGHT = 280  # pixels, axis and legend included
EXPLAIN = {
    "pictures": "CIFAR-10: 50,000 photographs to learn from. Distilled: synthetic pictures, ten classes in a few "
    "megabytes, that ship with this project and are learnt within a minute.",
    "network": "The shape of the function that is learned: its layers and their sizes.",
    "recipe": "A named set of settings to start from; each can be changed below.",
    "epochs": "One epoch is one pass over all training pictures.",
    "batch_size": "How many pictures are looked at before the weights change once.",
    "learning_rate": "How far the weights move at each change: too small is slow, too large fails.",
    "optimizer": "The rule that turns errors into changes of the weights.",
    "augment": "Mirrors and shifts the training pictures at random, against learning them by heart.",
    "fraction": "Train on fewer pictures: sooner done, less accurate.",
    "seed": "Where all chance begins: the same seed gives the same start, order and augmentation.",
    "blocks": "One block is a convolution, its normalisation and a halving of the picture.",
    "filters": "How many patterns the block looks for.",
    "dropout": "The share of values left out at random in training: a guard against learning by heart.",
    "dense": "How many units weigh the found patterns against each other before the answer.",
    "curves": "Blue: on the training pictures, after each epoch; grey: since the epoch began. Orange: on validation "
    "pictures, held out from training. Blue far above orange means learning by heart.",
    "loss": "How surprised the network is by the right answers: lower is better, 2.3 is guessing.",
    "training": "Share of right answers on the pictures that it learns from, since the epoch began.",
    "validation": "Share of right answers on pictures held out from training, which it has never seen.",
    "mini_validation": "Share of right answers on synthetic pictures that were made apart. It says how well such "
    "pictures are learnt, not how well photographs are recognised.",
    "test": "Share of right answers on the 10,000 test pictures, scored once, at the end.",
    "speed": "Training pictures a second.",
}

STATES = {
    "queued": ("waiting", "orange", ":material/hourglass_empty:"),
    "starting": ("starting", "blue", ":material/rocket_launch:"),
    "running": ("training", "blue", ":material/model_training:"),
    "paused": ("paused", "orange", ":material/pause:"),
    "finished": ("finished", "green", ":material/check:"),
    "stopped": ("stopped", "gray", ":material/stop:"),
    "failed": ("failed", "red", ":material/error:"),
    "interrupted": ("interrupted", "red", ":material/power_off:"),
}


def fenced(message: str) -> str:
    """A message whose further lines (a log) keep their shape."""
    first, _, rest = message.partition("\n")
    return f"{first}\n\n```text\n{rest}\n```" if rest else first


def reached(record: dict[str, Any]) -> float:
    """How many epochs, parts included, were done at a progress record."""
    return record["epoch"] - 1 + record["step"] / max(1, record["steps"])
