"""Any mode and profile of colour to sRGB over white, large pictures by means of blocks."""

import functools
import io
import math

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

from cifar_model.pictures.admit import KEPT_PIXELS, KEPT_SIDE

FLAT = 8  # grey levels between the darkest and the brightest pixel of what counts as one flat colour
_UNSEEN = 8  # grey levels: spread of a picture that can hardly be told from its ground


def reduce(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Flatten a decoded picture and take the mean of blocks, as KEPT_SIDE and KEPT_PIXELS say.

    Works in bands of about a megapixel, so that the only picture ever held whole is the one that arrived.
    Returns mode L, RGB, CMYK or LAB, and what a person should know of it: values that were stretched, another ground
    than white.
    """
    low, high, note = _value_range(image)
    notes = [note] if note else []
    over_white = _reduced(image, low, high, 255)
    if not image.has_transparency_data or image.mode.startswith("I") or _spread(over_white) >= _UNSEEN:
        return over_white, notes
    over_black = _reduced(image, low, high, 0)
    if _spread(over_black) < max(_UNSEEN, 3 * _spread(over_white)):
        return over_white, notes
    return over_black, [*notes, "Over white it could not be seen: its transparent parts are shown black."]


def is_flat(picture: Image.Image) -> bool:
    """Whether a picture of 8 bits is one flat colour."""
    extrema = picture.getextrema()
    return all(high - low <= FLAT for low, high in (extrema if isinstance(extrema[0], tuple) else [extrema]))


def _spread(picture: Image.Image) -> float:
    """Standard deviation of the grey levels."""
    return float(np.asarray(picture.convert("L"), np.float32).std())


def bands(image: Image.Image, factor: int = 1) -> list[tuple[int, int, int, int]]:
    """Boxes of about a megapixel one below the other, each but the last a multiple of `factor` high."""
    width, height = image.size
    rows = max(1, 1_000_000 // (width * factor)) * factor
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]


def _reduced(image: Image.Image, low: float, high: float, ground: int) -> Image.Image:
    width, height = image.size
    factor = max(1, min(width, height) // KEPT_SIDE, math.isqrt(width * height // KEPT_PIXELS))
    reduced = None
    for box in bands(image, factor):
        band = _flatten(image.crop(box), low, high, ground)
        if factor > 1:
            band = band.reduce(factor)
        if reduced is None:
            reduced = Image.new(band.mode, (-(-width // factor), -(-height // factor)))
        reduced.paste(band, (0, box[1] // factor))
    return reduced


_MARK_DISTANCE = 4  # spans of all other values: what lies farther away stands for something else
_DEPTHS = (8, 10, 12, 14, 16)  # bits of what sensors and screens make; containers hold 16 or 32


def bits_of(largest: float) -> int | None:
    """The usual depth that values from 0 to `largest` fill; None beyond 16 bits."""
    return next((bits for bits in _DEPTHS if largest < 2**bits), None)


def bits_note(bits: int, container: int) -> str:
    return f"Its values fill {bits} of {container} bits: they were stretched to the whole range from black to white."


def _value_range(image: Image.Image) -> tuple[float, float, str | None]:
    """What means black and what white in a picture of more than 8 bits (modes I;16…, I, F), and a note if it is odd.

    Nothing in such a file says so: the values are taken to fill the range that they were made for.
    """
    if not (image.mode.startswith("I") or image.mode == "F"):
        return 0.0, 255.0, None
    lowest, highest = _extremes(image)
    apart = []
    if lowest < highest:
        lowest, highest, apart = _without_marks(image, lowest, highest)
    if lowest > highest:  # not one number in it
        return 0.0, 1.0, None
    if image.mode != "F" and lowest >= 0 and (bits := bits_of(highest)):
        told = image.tag_v2.get(258, (16,))[0] if isinstance(image, TiffImagePlugin.TiffImageFile) else 16
        if told in (10, 12, 14):  # here the file itself says what white is
            return 0.0, 2.0**told - 1, None
        if apart:
            return 0.0, 2.0**bits - 1, _with_marks(bits_note(bits, 32 if image.mode == "I" else 16), apart)
        usual = bits == 16 or highest == 0 or (image.mode == "I" and bits == 8)
        return 0.0, 2.0**bits - 1, None if usual else bits_note(bits, 32 if image.mode == "I" else 16)
    if image.mode == "F" and lowest >= 0:
        for top in (1.0, 255.0, 65535.0):  # in real units a picture would hardly end so near below one of these
            if top / 4 <= highest <= top:
                return 0.0, top, _with_marks("One value lies far from all others.", apart) if apart else None
    if lowest == highest:
        return min(lowest, 0.0), max(highest, 1.0), None
    if -1 <= lowest < 0 and 0.5 <= highest <= 1:
        lowest, highest = -1.0, 1.0
    note = f"Its values run from {lowest:.4g} to {highest:.4g}: they were stretched to the range from black to white."
    return lowest, highest, _with_marks(note, apart)


def _extremes(image: Image.Image, without: tuple[float, ...] = ()) -> tuple[float, float]:
    """The least and the greatest finite value, those in `without` left out; inf and -inf where there is none."""
    lowest, highest = math.inf, -math.inf
    for box in bands(image):
        values = np.asarray(image.crop(box))
        values = values[np.isfinite(values) & ~np.isin(values, without)]
        if values.size:
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
    return lowest, highest


def _without_marks(image: Image.Image, lowest: float, highest: float) -> tuple[float, float, list[float]]:
    """The extremes without a value that stands for "not measured" (65535, -9999), or of a dead pixel, and these values.

    Such a value lies so far from all others that a picture stretched up to it would be one flat colour.
    """
    apart = []
    for mark in (highest, lowest, highest):
        if mark in apart:
            continue
        low, high = _extremes(image, (*apart, mark))
        if low < high and max(mark - high, low - mark) > _MARK_DISTANCE * (high - min(low, 0.0)):
            apart.append(mark)
            lowest, highest = low, high
    return lowest, highest, apart


def _with_marks(note: str, apart: list[float]) -> str:
    return f"{note} Ignored: pixels of {' and '.join(f'{mark:.6g}' for mark in apart)}." if apart else note


def _flatten(image: Image.Image, low: float, high: float, ground: int) -> Image.Image:
    """Any mode → L, RGB, CMYK or LAB of 8 bits; transparent parts become `ground`, 0 or 255."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        shares = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
        grey = 255 * np.nan_to_num(shares)
        flat = Image.fromarray(np.rint(grey).astype(np.uint8))
        clear = image.info.get("transparency")
        if clear is not None:
            flat.paste(ground, mask=Image.fromarray(((values == clear) * 255).astype(np.uint8)))
        return flat
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        image = image.convert("LA" if grey else "RGBA")
        flat = Image.new("L" if grey else "RGB", image.size, "white" if ground else "black")
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
