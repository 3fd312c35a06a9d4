"""Pictures decoded, mixed, and made small enough for a browser."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_model.pictures.decode import read_picture
from cifar_model.pictures.encode import encode_png
from cifar_model.pictures.fit import fit_image
from cifar_model.pictures.mix import sweep

PREVIEW_SIZE, THUMBNAIL_SIZE = (560, 560), (240, 168)  # pixels: a picture alone, and in a gallery


@dataclass(frozen=True)
class Picture:
    """A picture that was admitted: what arrived, small enough for a browser, and what a network sees."""

    name: str
    width: int  # of the picture as it arrived, upright
    height: int
    preview: bytes  # the whole picture as a WebP file, at most PREVIEW_SIZE
    thumbnail: bytes  # the same, at most THUMBNAIL_SIZE
    pixels: np.ndarray  # uint8 (32, 32, 3)
    notes: tuple[str, ...] = ()  # how it was read, where a person should know


def prepare(source: bytes | Path, name: str, position: tuple[float, float] = (0.5, 0.5)) -> Picture:
    """Decode a picture and cut out its square; ImageError as `decode.read_picture`."""
    decoded = read_picture(source, name=name)
    image = decoded.image
    pixels = fit_image(image, position=position)
    preview, thumbnail = (_smaller(image, size) for size in (PREVIEW_SIZE, THUMBNAIL_SIZE))
    return Picture(name, *decoded.size, preview, thumbnail, pixels, decoded.notes)


def prepare_all(files: dict[str, Path]) -> dict[str, Picture]:
    """Decode pictures by name, as `prepare`, in one go."""
    return {name: prepare(file, name) for name, file in files.items()}


def _smaller(image: Image.Image, size: tuple[int, int]) -> bytes:
    image = image.copy()
    image.thumbnail(size)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=85, method=2)
    return file.getvalue()


def mix(a: np.ndarray, b: np.ndarray, mode: str) -> tuple[np.ndarray, bytes]:
    """All 101 mixes of two pictures: uint8 (101, 32, 32, 3), and one PNG file of them.

    Row r of frame f is row 101·r + f of the PNG: neighbouring rows then differ little, and it packs small.
    """
    frames = sweep(a, b, mode=mode)
    return frames, encode_png(frames.transpose(1, 0, 2, 3).reshape(-1, *frames.shape[2:]))
