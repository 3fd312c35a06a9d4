"""Pictures with captions on one sheet."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cifar_model.charts.lettering import Lettering
from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import SettingsError
from cifar_model.storage import check_folder, replacing


def contact_sheet(
    images: np.ndarray, captions: Sequence[str], *, columns: int | None = None, scale: int = 4
) -> Image.Image:
    """Pictures in rows, each with its caption below; what a network sees, enlarged without smoothing.

    images: uint8 (n, 32, 32, 3), n >= 1. captions: n texts; lines are divided by newlines, and a line that
    is too long for its picture is cut with an ellipsis. columns: default about the square root of n, 5 to 12.
    Returns RGB, on white.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or not len(images):
        raise SettingsError(
            f"A contact sheet takes uint8 pixels of shape (n, 32, 32, 3), n at least 1. "
            f"Received: {images.dtype} {images.shape}."
        )
    if len(captions) != len(images):
        raise SettingsError(f"Each picture needs one caption. Received: {len(captions)} for {len(images)}.")
    if scale < 1 or (columns is not None and columns < 1):
        raise SettingsError(f"Scale and columns are at least 1. Received: scale={scale}, columns={columns}.")
    columns = min(columns or min(12, max(5, math.ceil(math.sqrt(len(images))))), len(images))
    rows = math.ceil(len(images) / columns)
    font = Lettering(max(9, 3 * scale))
    lines = [caption.split("\n") for caption in captions]
    line_height = font.height + 2
    gap, tile = 2 * scale, IMAGE_SIZE * scale
    cell_height = tile + max(map(len, lines)) * line_height + gap
    sheet = Image.new("RGB", (gap + columns * (tile + gap), gap + rows * cell_height + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (pixels, texts) in enumerate(zip(images, lines, strict=True)):
        left = gap + (index % columns) * (tile + gap)
        top = gap + (index // columns) * cell_height
        sheet.paste(Image.fromarray(pixels).resize((tile, tile), Image.Resampling.NEAREST), (left, top))
        # A frame, since a white picture would have no edge.
        draw.rectangle((left - 1, top - 1, left + tile, top + tile), outline="#DDDDDD")
        for number, text in enumerate(texts):
            font.draw(draw, (left, top + tile + 2 + number * line_height), text, tile)
    return sheet


def save_sheet(sheet: Image.Image, path: str | os.PathLike) -> None:
    """Save a contact sheet; the suffix says as what (.png, .jpg, .webp). Raises what `check_sheet_path` does."""
    check_sheet_path(path)
    with replacing(path) as temporary:
        sheet.save(temporary, **({"lossless": True} if temporary.suffix.lower() == ".webp" else {}))


def check_sheet_path(path: str | os.PathLike) -> None:
    """Raise SettingsError unless `path` ends in .png, .jpg, .jpeg or .webp, LabError unless its folder is there."""
    if Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise SettingsError(f"A picture is saved as .png, .jpg or .webp. Received: {path}.")
    check_folder(path)
