"""The distilled images that ship with the project: where they lie, what they are worth, reading them."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.data.sources import MINI, Source, Split
from cifar_model.errors import DatasetError
from cifar_model.storage import assets_dir, read_json
from cifar_model.text import share

TEST_SET = "10,000 real test images of CIFAR-10"  # that the shipped card's scores are of


def mini_dir() -> Path:
    """Where the distilled images lie: they ship with the project."""
    return assets_dir() / "mini"


def mini_source() -> Source | None:
    """The distilled images that ship with the project; None in a checkout without them."""
    files = tuple(mini_dir() / name for name in ("train.png", "validation.png"))
    return Source(MINI, mini_dir(), files) if all(file.is_file() for file in files) else None


def mini_counts() -> tuple[int, int]:
    """How many distilled images there are to train and to validate with, by the size of their files; 0 where none."""
    source = mini_source()
    return (_count(source.files[0]), _count(source.files[1])) if source else (0, 0)


@lru_cache(maxsize=8)
def _count(sheet: Path) -> int:
    with Image.open(sheet) as image:  # reads the head alone
        return image.width * image.height // IMAGE_SIZE**2


def mini_score(network: str) -> tuple[float, int] | None:
    """What `network` scores on CIFAR-10's test images after learning from the distilled images alone.

    Read from the card beside them: mean accuracy (0 to 1) and the number of runs; None where it says nothing.
    """
    try:
        score = json.loads((mini_dir() / "card.json").read_text(encoding="utf-8"))["scores"][network]
        return float(score["real_test_accuracy_mean"]), int(score["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def describe_mini(network: str) -> str:
    """What the distilled images are, and what to expect of a network that learns from them alone."""
    expected = ""
    if score := mini_score(network):
        expected = (
            f"Trained on them, {network} classifies {share(score[0], 0)} of the {TEST_SET} correctly "
            f"(mean of {score[1]} runs). "
        )
    return (
        f"{mini_counts()[0]:,} synthetic images that ship with this project, distilled from CIFAR-10: optimised so "
        f"that a network trained on them alone recognises real photographs. {expected}"
        "The validation images are synthetic too: validation accuracy says how well such images are learned, not how "
        "well photographs are recognised."
    )


PARTS = ("train", "validation")
CLASSES = len(CLASS_NAMES)


def read_mini(folder: str | os.PathLike | None = None) -> tuple[Split, Split]:
    """Distilled images as `(x_train, y_train), (x_validation, y_validation)`, by class and in the sheet's order.

    Pictures are uint8 (n, 32, 32, 3), RGB; labels int64 (n,), 0 to 9. `folder` defaults to those that ship.

    Raises DatasetError: no sheets there, or files that are not such sheets.
    """
    folder = Path(folder or mini_dir())
    train, validation = (_read_sheet(folder / f"{part}.png") for part in PARTS)
    return train, validation


def mini_card(folder: str | os.PathLike | None = None) -> dict:
    """How distilled images were made and what they are worth. Raises ModelError where there is no such card."""
    return read_json(Path(folder or mini_dir()) / "card.json")


def _read_sheet(path: Path) -> Split:
    try:
        with Image.open(path) as sheet:
            sheet_format, mode, (width, height) = sheet.format, sheet.mode, sheet.size
            n, rest = divmod(width, IMAGE_SIZE)
            if sheet_format != "PNG" or mode != "RGB" or rest or not n or height != CLASSES * IMAGE_SIZE or n > 1000:
                raise DatasetError(
                    f"{path} is a {sheet_format} of {width}×{height} pixels ({mode}); expected a PNG of RGB pixels, "
                    f"{CLASSES * IMAGE_SIZE} high and a multiple of {IMAGE_SIZE} wide: one row of pictures a class."
                )
            pixels = np.asarray(sheet)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing. To make it: python -m cifar_model distill --out FOLDER") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} can't be read as a picture: {error}.") from error
    pictures = pixels.reshape(CLASSES, IMAGE_SIZE, n, IMAGE_SIZE, 3).transpose(0, 2, 1, 3, 4)
    return pictures.reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3), np.repeat(np.arange(CLASSES), n)
