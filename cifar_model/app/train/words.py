"""Explanations, names of states, sizes and times that the sections of Train share."""

from __future__ import annotations

LIVE_SECONDS = 0.5  # between two looks at a run that trains
IDLE_SECONDS = 2.0  # between two looks for runs that others start
CHART_HEIGHT = 290  # pixels, axis and legend included
EXPLAIN = {
    "pictures": "CIFAR-10: 50,000 photographs. Distilled: synthetic images, ten classes in a few megabytes, that ship "
    "with this project; training on them takes a minute.",
    "network": "The architecture: its layers and their sizes.",
    "recipe": "A named set of settings; each can be changed under “More settings”.",
    "epochs": "One epoch is one pass over all training images.",
    "batch_size": "How many images are processed for each update of the weights.",
    "learning_rate": "How far the weights move at each update: too small is slow, too large diverges.",
    "optimizer": "The rule that turns gradients into updates of the weights.",
    "augment": "Mirrors and shifts the training images at random, against overfitting.",
    "fraction": "Train on fewer images: faster, less accurate.",
    "early_stopping": "Ends the training when the validation accuracy has not improved for so many epochs; 0: never.",
    "seed": "The same seed gives the same initial weights, order and augmentation.",
    "blocks": "A block is a convolution, a normalisation and pooling to half the size.",
    "filters": "The number of filters (output channels) of the block's convolution.",
    "dropout": "The share of values set to zero at random in training, against overfitting.",
    "dense": "The number of units in the dense layer before the output.",
    "curves": "Blue: on training images, after each epoch; grey: since the epoch began. Orange: on held-out "
    "validation images. Blue far above orange means overfitting.",
    "loss": "Cross-entropy: how improbable the network finds the true classes. Lower is better; guessing gives 2.3.",
    "training": "Accuracy on the training images, since the epoch began.",
    "validation": "Accuracy on images held out from training.",
    "mini_validation": "Accuracy on synthetic images that were made apart. It says how well such images are learned, "
    "not how well photographs are recognised.",
    "photographs": "How many of the sample photographs it classifies correctly. It never trains on photographs: "
    "this is the figure that counts.",
    "outliers": "Outlier exposure: also shows the network CIFAR-100 images, which belong to none of the ten classes, "
    "and teaches it to be unsure of them.",
    "mixup": "Mixup: trains on blends of two images with blended labels, so that blends look less certain to it.",
    "setting": "A dot is a run, a ring one that has not finished; a dash is the mean of the finished runs that share a "
    "value of the setting.",
    "test": "Accuracy on the 10,000 test images, measured once, at the end.",
    "speed": "Training images per second.",
}

STATES = {
    "queued": ("queued", "orange", ":material/hourglass_empty:"),
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
