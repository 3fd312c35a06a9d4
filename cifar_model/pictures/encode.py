"""Pixels enlarged, and as PNG files and data URLs."""

import base64
import io

import numpy as np
from PIL import Image


def enlarge(pixels: np.ndarray, factor: int) -> Image.Image:
    """Enlarge pixels uint8 (height, width, 3) by a whole factor without blur, each pixel a square."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def encode_png(picture: np.ndarray | Image.Image, *, scale: int = 1) -> bytes:
    """A PNG file of a picture or of pixels uint8 (height, width, 3), enlarged `scale` times without blur."""
    image = enlarge(np.asarray(picture), scale)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def data_url(pixels: np.ndarray, *, scale: int = 1) -> str:
    """`encode_png` as a data URL that a web page can show."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels, scale=scale)).decode("ascii")
