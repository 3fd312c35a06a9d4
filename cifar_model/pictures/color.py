"""Any mode and profile of colour to sRGB over white, large pictures by means of blocks."""

import functools
import io
import math

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

from cifar_model.pictures.admit import KEPT_PIXELS, KEPT_SIDE


def reduce(image: Image.Image) -> Image.Image:
    """Flatten a decoded picture and take the mean of blocks, as _KEPT_SIDE and _KEPT_PIXELS say.

    Works in bands of about a megapixel, so that the only picture ever held whole is the one that arrived.
    Returns mode L, RGB, CMYK or LAB.
    """
    width, height = image.size
    factor = max(1, min(width, height) // KEPT_SIDE, math.isqrt(width * height // KEPT_PIXELS))
    rows = max(1, 1_000_000 // (width * factor)) * factor
    boxes = [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]
    top_value = _top_value(image, boxes)
    reduced = None
    for box in boxes:
        band = _flatten(image.crop(box), top_value)
        if factor > 1:
            band = band.reduce(factor)
        if reduced is None:
            reduced = Image.new(band.mode, (-(-width // factor), -(-height // factor)))
        reduced.paste(band, (0, box[1] // factor))
    return reduced


def _top_value(image: Image.Image, boxes: list[tuple[int, int, int, int]]) -> float:
    """The value that means white in a picture of more than 8 bits (modes I;16…, I, F); 255 for all others."""
    if image.mode.startswith("I;16"):
        bits = image.tag_v2.get(258, (16,))[0] if isinstance(image, TiffImagePlugin.TiffImageFile) else 16
        return 2**bits - 1
    if image.mode in ("I", "F"):
        # Nothing says what white is: the next of the usual tops (1 for F, 8 bits, 16 bits), else the maximum.
        largest = max(float(np.nan_to_num(np.asarray(image.crop(box)), posinf=0).max()) for box in boxes)
        usual = [1.0] * (image.mode == "F") + [255.0, 65535.0]
        return next((top for top in usual if largest <= top), largest)
    return 255.0


def _flatten(image: Image.Image, top_value: float) -> Image.Image:
    """Any mode → L, RGB, CMYK or LAB of 8 bits; transparent parts become white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        grey = np.nan_to_num(np.clip(values.astype(np.float32), 0, top_value)) * (255 / top_value)
        flat = Image.fromarray(np.rint(grey).astype(np.uint8))
        clear = image.info.get("transparency")
        if clear is not None:
            flat.paste(255, mask=Image.fromarray(((values == clear) * 255).astype(np.uint8)))
        return flat
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        image = image.convert("LA" if grey else "RGBA")
        flat = Image.new("L" if grey else "RGB", image.size, "white")
        flat.paste(image, mask=image.getchannel("A"))
        return flat
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB")  # P, RGBX, YCbCr


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """L, RGB, CMYK or LAB with its embedded ICC profile → RGB in sRGB. A broken profile is ignored."""
    if image.mode == "LAB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    if profile and len(profile) <= 4_000_000:
        mode, transform = _transform(bytes(profile), image.mode)
        if transform is not None:
            return ImageCms.applyTransform(image.convert(mode), transform)
    return image.convert("RGB") if image.mode != "RGB" else image


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode to convert to first and the way from there to sRGB; None: leave the values alone."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        takes = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}.get(space)
        if takes != mode and (takes, mode) != ("RGB", "L"):
            return mode, None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), takes, "RGB")
        if takes in ("L", "RGB"):
            # A profile within rounding of sRGB means sRGB: it leaves the picture as it is, bit for bit.
            steps = np.arange(0, 256, 15, dtype=np.uint8)
            cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(steps.size, -1, 3)
            probe = Image.fromarray(cube if takes == "RGB" else np.arange(256, dtype=np.uint8)[None])
            after = np.asarray(ImageCms.applyTransform(probe, transform), np.int16)
            if np.abs(after - np.asarray(probe.convert("RGB"), np.int16)).max() <= 2:
                return mode, None
        return takes, transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return mode, None
