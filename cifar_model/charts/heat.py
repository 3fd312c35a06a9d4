"""Evidence drawn over its picture, from orange to yellow where it is strongest."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cifar_model.pictures.encode import enlarge

# Strength of the evidence, colour and cover over the grey: ever lighter, so that the order needs no colour vision; no
# kind of colour blindness takes orange or yellow for grey.
_RAMP = ((0.0, (255, 120, 0), 0.0), (0.5, (255, 120, 0), 0.8), (1.0, (255, 240, 120), 0.95))
INK, PAPER = "#222222", "white"


def overlay(pixels: np.ndarray, heat: np.ndarray, *, scale: int = 10, class_name: str | None = None) -> Image.Image:
    """A picture in grey with the evidence over it, from orange to yellow where it is strongest.

    Parameters
    ----------
    pixels : uint8 (32, 32, 3)
    heat : float (32, 32), 0–1
    scale : pixels of the result for one of the picture's, which stay squares
    class_name : adds a legend below, which says for what the evidence is

    Returns
    -------
    RGB image, 32·scale wide
    """
    # Darker than all colours of the heat, so that it stands out from light pictures as from dark ones.
    grey = 25 + 0.43 * (np.asarray(pixels) @ np.array([0.299, 0.587, 0.114]))
    image = enlarge(_heat_color(grey, heat), scale)
    if class_name is None:
        return image
    legend = heat_legend(class_name, width=image.width)
    sheet = Image.new("RGB", (image.width, image.height + legend.height), PAPER)
    sheet.paste(image, (0, 0))
    sheet.paste(legend, (0, image.height))
    return sheet


def heat_legend(class_name: str, *, width: int = 320) -> Image.Image:
    """What an overlay's colours mean, dark text on white: RGB, `width` pixels wide."""
    size = max(9, min(16, width // 20))
    font = ImageFont.load_default(size=size)
    legend = Image.new("RGB", (width, 2 * size), PAPER)
    text = f"more evidence for {class_name}"
    bar = max(size, width - round(font.getlength(text)) - 2 * size)
    ramp = _heat_color(np.full((1, bar), 80.0), np.linspace(0, 1, bar)[None])
    legend.paste(Image.fromarray(ramp).resize((bar, size)), (size // 2, size // 2))
    ImageDraw.Draw(legend).text((bar + size, size), text, INK, font, anchor="lm")
    return legend


def _heat_color(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Grey (h, w), 0–255, under heat (h, w), 0–1 → uint8 (h, w, 3)."""
    at, colors, covers = zip(*_RAMP, strict=True)
    cover = np.interp(heat, at, covers)[..., None]
    color = np.stack([np.interp(heat, at, channel) for channel in zip(*colors, strict=True)], axis=-1)
    return np.rint((1 - cover) * grey[..., None] + cover * color).astype(np.uint8)
