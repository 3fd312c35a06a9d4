"""The 32×32 pixels that a network takes: a square cut out and scaled down without aliasing."""

import os
from typing import BinaryIO

import numpy as np
from PIL import Image

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ImageError
from cifar_model.pictures.decode import decode_image, read_picture


def load_image(
    source: bytes | str | os.PathLike | BinaryIO,
    *,
    name: str | None = None,
    position: tuple[float, float] = (0.5, 0.5),
) -> np.ndarray:
    """Decode a picture and fit it to the network: `fit_image(decode_image(source))`.

    Parameters and errors are those of `decode_image` and `fit_image`.

    Returns
    -------
    uint8 array (32, 32, 3), RGB, 0–255
    """
    return fit_image(decode_image(source, name=name), position=position)


def load_picture(
    source: bytes | str | os.PathLike | BinaryIO,
    *,
    name: str | None = None,
    position: tuple[float, float] = (0.5, 0.5),
) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `load_image`, with the notes of how the picture was read (`decode.read_picture`)."""
    decoded = read_picture(source, name=name)
    return fit_image(decoded.image, position=position), decoded.notes


def fit_image(image: Image.Image, *, position: tuple[float, float] = (0.5, 0.5)) -> np.ndarray:
    """Cut a square out of a picture and scale it to 32×32 pixels (bicubic, anti-aliased).

    A square of 32×32 comes out bit for bit.

    Parameters
    ----------
    image : PIL.Image.Image, usually from `decode_image`
    position : where the square sits along x and y: 0 left or top, 0.5 centre, 1 right or bottom

    Returns
    -------
    uint8 array (32, 32, 3), RGB, 0–255

    Raises
    ------
    ImageError
        A position outside 0 to 1.
    """
    box = crop_box(*image.size, position)
    small = image.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC, box=box)
    return np.array(small)


def crop_box(width: int, height: int, position: tuple[float, float] = (0.5, 0.5)) -> tuple[int, int, int, int]:
    """The largest square within width × height pixels: (left, top, right, bottom), the last two excluded."""
    x, y = position
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ImageError(f"The square's position must be two numbers from 0 to 1. Received: {position}.")
    side = min(width, height)
    left, top = round((width - side) * x), round((height - side) * y)
    return left, top, left + side, top + side
