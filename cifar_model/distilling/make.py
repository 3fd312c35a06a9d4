"""Distil CIFAR-10 into a few hundred synthetic pictures. TensorFlow comes with distilling.

Dataset distillation (Wang et al. 2018, arXiv:1811.10959) treats pixels as weights: the pictures are optimised until
a network that learns from them alone answers real photographs well. The method here follows "neural feature
regression" (Zhou, Nezhadarya & Ba 2022, arXiv:2206.00719): small networks, at many stages of their own training on
the pictures, give features; ridge regression from the pictures' features to their labels has a closed form, so its
error on real photographs has an exact gradient for every pixel, with no training loop to differentiate through.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import filelock
import numpy as np

from cifar_model.data.distilled import CLASSES, PARTS
from cifar_model.data.sources import Split
from cifar_model.data.split import split_by_content
from cifar_model.distilling import maker as distilling_maker
from cifar_model.distilling.graph import RIDGE, SHIFT
from cifar_model.distilling.maker import MIXED, RATE, REAL, SUPPORT, Maker
from cifar_model.distilling.settings import DistillSettings
from cifar_model.distilling.write import make_folder, write_mini
from cifar_model.errors import SettingsError
from cifar_model.networks.backend import import_keras
from cifar_model.storage import write_json

HELD_OUT = 0.1  # share of the training images, chosen by content, that the validation images alone are made from

FEW = 1_000  # fewer training images than this leave too few of a class in a tenth

Report = Callable[[str, dict], None]


def distill(
    data: tuple[Split, Split],
    out: str | os.PathLike,
    settings: DistillSettings,
    *,
    describe: Callable[[np.ndarray, np.ndarray], dict] | None = None,
    command: str = "",
    report: Report = lambda kind, record: None,
) -> dict:
    """Make the pictures and write them to the folder `out`, with their card.

    The synthetic training images see all training images but the tenth that a training holds out (a quarter, where
    there are fewer than 1,000), the validation images that tenth alone, and networks of their own. A call that was
    broken off goes on from its last checkpoint, which lies in `out` until all is done.

    Parameters
    ----------
    data : as from `cache.load_cifar10`
    describe : called with both parts, uint8 (10, n, 32, 32, 3); what it answers joins the card
    command : what a person types to repeat this, for the card
    report : called with ("progress", {stage, done, total, text}) and ("note", {message})

    Returns
    -------
    dict
        The card.

    Raises
    ------
    SettingsError
        Where `out` holds unfinished pictures of other settings or data, or finished ones.
    DatasetError
        Where a class has too few pictures.
    """
    out = Path(out)
    if (out / "card.json").exists() and not any(_checkpoint(out, part).exists() for part in PARTS):
        raise SettingsError(f"{out} holds finished pictures. Name another folder with --out, or delete them first.")
    make_folder(out)
    lock = filelock.FileLock(out / ".lock", timeout=0)
    try:
        with lock:
            return _distill(data, out, settings, describe, command, report)
    except filelock.Timeout:
        raise SettingsError(f"Another process makes pictures in {out}: wait for it, or name another folder.") from None


def _distill(data, out, settings, describe, command, report) -> dict:
    import_keras()
    (images, labels), _ = data
    split = split_by_content(images, HELD_OUT if len(labels) >= FEW else 0.25)
    made_from = {"train": split.train, "validation": np.concatenate([split.selection, split.untouched])}
    made, seconds = {}, 0.0
    for number, part in enumerate(PARTS):
        per_class = settings.per_class if part == "train" else settings.validation_per_class
        # Of many pictures a share takes part in each iteration; all shall take part equally often.
        share = min(1.0, SUPPORT / settings.per_class)
        iterations = settings.iterations if part == "train" else max(1, round(settings.iterations * share))
        rows = made_from[part]
        maker = Maker(
            np.asarray(images[rows]),
            np.asarray(labels[rows]),
            per_class,
            iterations,
            seed=(settings.seed, number),
            checkpoint=_checkpoint(out, part),
            identity=json.dumps([asdict(settings), _constants(), part, len(labels), split.boundary]),
        )
        made[part] = maker.run(lambda record, part=part: report("progress", {"stage": f"{part} pictures"} | record))
        seconds += maker.seconds
    card = {
        "method": "neural feature regression (Zhou et al. 2022, arXiv:2206.00719) with small convolutional networks "
        f"that learn from the pictures meanwhile; each picture began as the mean of {MIXED} photographs",
        "settings": asdict(settings) | _constants(),
        "per_class": {part: pictures.shape[1] for part, pictures in made.items()},
        "made_from": {
            "train": f"{len(made_from['train']):,} training images",
            "validation": f"the {len(made_from['validation']):,} others, held out by content",
        },
        "seconds": round(seconds, 1),
        "command": command,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    # What follows may take minutes too, and be broken off: the pictures are there already.
    write_mini(out, made["train"], made["validation"], card)
    if describe:
        began = time.perf_counter()
        card |= describe(made["train"], made["validation"])
        card["check_seconds"] = round(time.perf_counter() - began, 1)
        write_json(out / "card.json", card)
    for part in PARTS:
        _checkpoint(out, part).unlink(missing_ok=True)
    return card


def _checkpoint(out: Path, part: str) -> Path:
    return out / f"checkpoint-{part}.npz"


def _constants() -> dict:
    return {
        "start": f"mean of {MIXED} photographs",
        "pictures_an_iteration": SUPPORT * CLASSES,
        "photographs_an_iteration": REAL * CLASSES,
        "pixel_rate": RATE,
        "ridge": RIDGE,
        "shift": SHIFT,
        "networks": distilling_maker.POOL,
        "network_steps": distilling_maker.OLDEST,
    }
