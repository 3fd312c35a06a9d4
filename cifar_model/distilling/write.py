"""Distilled images written as two sheets and a card."""

import os
from pathlib import Path

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.data.distilled import PARTS
from cifar_model.errors import DatasetError
from cifar_model.pictures.encode import encode_png
from cifar_model.storage import replacing, write_json


def write_mini(folder: str | os.PathLike, train: np.ndarray, validation: np.ndarray, card: dict) -> None:
    """Write both sheets and the card.

    Parameters
    ----------
    folder : made where it is missing
    train, validation : uint8 (10, n, 32, 32, 3): n pictures of each class, in the order of CLASS_NAMES

    Raises LabError where the folder can't be written to.
    """
    folder = Path(folder)
    make_folder(folder)
    for part, pictures in zip(PARTS, (train, validation), strict=True):
        with replacing(folder / f"{part}.png") as temporary:
            temporary.write_bytes(encode_png(_sheet(pictures)))
    write_json(folder / "card.json", card)


def _sheet(pictures: np.ndarray) -> np.ndarray:
    """(10, n, 32, 32, 3) -> (320, 32·n, 3): a row of pictures for each class."""
    classes, n = pictures.shape[:2]
    return pictures.transpose(0, 2, 1, 3, 4).reshape(classes * IMAGE_SIZE, n * IMAGE_SIZE, 3)


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"Can't make the folder {folder}: {error.strerror or error}.") from error
