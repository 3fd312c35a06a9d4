"""From any picture file to upright RGB: the one way in for all who read pictures.

Bytes are hostile until proved otherwise: what a file claims is checked from its header before anything is
decoded, and whatever goes wrong comes out as one ImageError that a person can act on.
"""

import io
import math
import os
import sys
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ImageError
from cifar_model.pictures.admit import (
    ALLOWED,
    KEPT_SIDE,
    PLUGINS,
    check_header,
    check_strips,
    megabytes,
    printable,
    read_bytes,
    sniff,
)
from cifar_model.pictures.color import bands, bits_note, bits_of, is_flat, reduce, to_srgb

# Pillow warns of each damaged metadata block; here a picture is either shown or refused with a reason.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# EXIF orientation (tag 0x0112) → what makes the picture upright; 1 is upright already.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)

# Of a JPEG that is cut short so many rows must be there, or so many scans of a progressive one.
_ENOUGH_ROWS, _ENOUGH_SCANS = 0.75, 5

# How Pillow reads the upper byte of each value of 16 bits → how it then reads the lower one.
_NATIVE = "16B" if sys.byteorder == "little" else "16L"
_OTHER_BYTE = {
    f"{mode};{order}": f"{mode};{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in (("16B", "16L"), ("16L", "16B"), ("16N", _NATIVE))
}

# Of the lines between enlarged pixels so many must show.
_ENOUGH_STEPS = 0.25

# Frames of an animation, pages of a TIFF, that are looked through for one that shows something.
_ANIMATED = ("GIF", "PNG", "WebP", "AVIF", "TIFF")
_MAX_FRAMES, _MAX_FRAME_PIXELS, _MAX_ANIMATED_PIXELS = 300, 500_000_000, 20_000_000


@dataclass(frozen=True)
class Decoded:
    """A picture that was admitted.

    image : upright RGB, perhaps reduced; size : width and height of the file's own pixels, upright
    notes : what a person should know of how it was read
    """

    image: Image.Image
    size: tuple[int, int]
    notes: tuple[str, ...] = ()


def decode_image(source: bytes | str | os.PathLike | BinaryIO, *, name: str | None = None) -> Image.Image:
    """Decode a picture: `read_picture(source).image`, whose parameters and errors it has."""
    return read_picture(source, name=name).image


def read_picture(source: bytes | str | os.PathLike | BinaryIO, *, name: str | None = None) -> Decoded:
    """Decode a picture: upright, in sRGB, transparency over the ground on which it can be seen, white if it can.

    Of an animation, or a TIFF of several pages, the first one that is not one flat colour. Values of 10, 12 or 14 bits
    in a larger container, and floats of any range, are stretched to what they hold. Pixels that were enlarged by a
    whole factor, each to a square (as this project saves mixes), are read back one by one. A JPEG that lacks its last
    bytes is shown. What was done of this stands in the notes.

    A picture whose shorter side has 1,024 pixels or more is reduced by a whole factor (mean of each block) to
    no less than 512 there, a long strip further. Peak memory stays below 600 MB.

    Parameters
    ----------
    source : the bytes, a path, or a binary file object (read from its start if it can be rewound)
    name : what to call the picture in errors; default: the path's or file object's own name

    Returns
    -------
    Decoded
        Its image is a PIL.Image.Image, mode "RGB", without metadata.

    Raises
    ------
    ImageError
        Missing, unreadable, empty, not one of the eight formats, damaged, over 20 MB, over 50 megapixels, or
        more than 100 times as long as wide. Also what would take more than 600 MB to decode: WebP over 46
        megapixels, AVIF over 40 with transparency or more than 8 bits (31 with both), HEIC over 45 with
        transparency or 37 with more than 8 bits (27 with both), some TIFF in one strip.
    """
    data, name = read_bytes(source, name)
    kind = sniff(data, name)
    try:
        if kind == "TIFF":
            check_strips(data, name)
        image = _opened(data, kind)
        check_header(image, kind, data, name)
        notes, size_on_file = [], image.size
        if kind == "JPEG":
            pixels, image, note = _load_jpeg(data, image)
        else:
            tiles = list(image.tile)
            pixels, note = _whole_depth(_load(image, kind), tiles, data, kind)
        notes += [note] * bool(note)
        size = 1 if kind == "JPEG" else block_size(pixels)
        if size > 1:
            pixels = _read_back(pixels, size)
            notes.append(f"Its pixels were enlarged, each to {size} × {size}: they were read back one by one.")
        reduced, more = reduce(pixels)
        if kind in _ANIMATED and is_flat(reduced) and (later := _first_that_shows(data, kind, name)):
            number, reduced, more = later
            frame = "page" if kind == "TIFF" else "frame"
            more = [*more, f"Its first {frame} is one flat colour: {frame} {number + 1} is shown."]
        notes += more
        turn = _UPRIGHT.get(_orientation(image))
        picture = to_srgb(reduced, image.info.get("icc_profile"))
        picture = picture.transpose(turn) if turn is not None else picture.copy()
    except ImageError:
        raise
    except Exception as error:  # damaged bytes make decoders raise nearly anything, MemoryError included
        raise ImageError(
            f"{name}: this {kind} file ({megabytes(len(data))}) can't be decoded; it is damaged or cut "
            f"short ({printable(error).rstrip('.') or type(error).__name__}). Allowed: {ALLOWED}. "
            "Open it in an image editor and save it again, or fetch it anew."
        ) from error
    picture.info = {}  # the profile and the orientation no longer apply
    width, height = size_on_file
    return Decoded(picture, (height, width) if turn in _LYING else (width, height), tuple(notes))


def _opened(data: bytes, kind: str) -> Image.Image:
    return PLUGINS[kind](io.BytesIO(data), "")  # reads the header only


def _load(image: Image.Image, kind: str) -> Image.Image:
    """Decode the first frame."""
    decoder = getattr(image, "_decoder", None)
    if decoder is None:
        image.load()
        return image
    # WebP and AVIF: Pillow would hold the decoder's canvases and a copy of them while it makes yet another.
    frame = decoder.get_next() if kind == "WebP" else decoder.get_frame(0)
    if frame is None:
        raise ValueError("no frame could be decoded")
    image._decoder = decoder = None
    mode = image.rawmode if kind == "WebP" else image.mode
    return Image.frombuffer(mode, image.size, frame[0], "raw", mode, 0, 1)


def _load_jpeg(data: bytes, image: Image.Image) -> tuple[Image.Image, Image.Image, str | None]:
    """Decode a JPEG, also one that lacks its last bytes: pixels, header, note."""

    def decoded(data: bytes) -> Image.Image:
        image = _opened(data, "JPEG")
        image.draft(None, (KEPT_SIDE, KEPT_SIDE))  # decodes at 1/2, 1/4 or 1/8 where that is enough
        image.load()
        return image

    try:
        image = decoded(data)
        return image, image, None
    except OSError:
        if data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise
    # Ended by force, libjpeg fills the rest up. Where two ways to fill it differ, there the file was cut.
    data = data[:-1] if data.endswith(b"\xff") else data
    image, other = decoded(data + b"\xff\xd9"), decoded(data + 1000 * b"\x5a" + b"\xff\xd9")
    differ = np.flatnonzero((np.asarray(image) != np.asarray(other)).reshape(image.height, -1).any(axis=1))
    whole_rows = int(differ[0]) if len(differ) else image.height
    # A progressive file has all of the picture in each of its scans, finer from scan to scan.
    if data.count(b"\xff\xda") < _ENOUGH_SCANS and whole_rows < _ENOUGH_ROWS * image.height:
        raise OSError(f"only about {whole_rows / image.height:.0%} of its rows are there")
    return image, image, "The file lacks its last bytes: the end of the picture is filled up."


def _whole_depth(pixels: Image.Image, tiles: list, data: bytes, kind: str) -> tuple[Image.Image, str | None]:
    """Colours of 16 bits, of which Pillow keeps the upper 8: where fewer are in use, stretched from all there are."""
    raw = [tile.args if isinstance(tile.args, str) else tile.args[0] for tile in tiles if tile.args]
    colours = [band for band in pixels.getbands() if band != "A"]
    if kind not in ("PNG", "TIFF") or not raw or any(";16" not in one for one in raw) or len(colours) < 3:
        return pixels, None
    tops = dict(zip(pixels.getbands(), (high for _, high in pixels.getextrema()), strict=True))
    if max(tops[band] for band in colours) >= 64:
        return pixels, None
    lower = None
    if all(one in _OTHER_BYTE for one in raw):
        image = _opened(data, kind)
        image.tile = [
            tile._replace(args=_OTHER_BYTE[one] if isinstance(tile.args, str) else (_OTHER_BYTE[one], *tile.args[1:]))
            for tile, one in zip(image.tile, raw, strict=True)
        ]
        image.load()
        lower = image

    def values(box: tuple[int, int, int, int]) -> np.ndarray:
        high = np.asarray(pixels.crop(box)).astype(np.uint16)
        return 256 * high + (np.asarray(lower.crop(box)) if lower else 128)

    boxes = bands(pixels)  # a part at a time: whole arrays would be as large as the picture again
    largest = max(int(values(box)[..., : len(colours)].max()) for box in boxes)
    if not any(tops[band] for band in colours) and largest < 2:
        return pixels, None
    bits = bits_of(largest) or 16
    # Alpha may fill its 16 bits where the colours don't.
    used = np.array([2**bits - 1 if tops[band] < 64 else 65535 for band in pixels.getbands()], np.float32)
    stretched = lower or pixels
    for box in boxes:
        shares = np.minimum(values(box) / used, 1)
        stretched.paste(Image.fromarray(np.rint(255 * shares).astype(np.uint8), pixels.mode), box)
    return stretched, bits_note(bits, 16)


def block_size(image: Image.Image) -> int:
    """By which whole factor the pixels of a picture were enlarged, each to a square of one colour; 1: they weren't.

    The largest factor that leaves 32 pixels or more a side. No photograph has one, for every square must be of one
    colour; and no simple drawing, for most neighbouring squares must differ somewhere.
    """
    width, height = image.size
    side = min(width, height)
    if side < 2 * IMAGE_SIZE:
        return 1
    steps_x, steps_y = np.zeros(width, bool), np.zeros(height, bool)  # where any pixel differs from the one before
    middle = [(0, height // 2, width, height // 2 + 1), (width // 2, 0, width // 2 + 1, height)]
    above = common = None
    for box in (*middle, *bands(image)):
        left, top, right, bottom = box
        values = np.asarray(image.crop(box))
        values = values.reshape(*values.shape[:2], -1)
        steps_x[left + 1 : right] |= (values[:, 1:] != values[:, :-1]).any(axis=(0, 2))
        steps_y[top + 1 : bottom] |= (values[1:] != values[:-1]).any(axis=(1, 2))
        if box not in middle:
            steps_y[top] |= above is not None and bool((values[0] != above).any())
            above = values[-1]
        common = math.gcd(width, height, *np.flatnonzero(steps_x).tolist(), *np.flatnonzero(steps_y).tolist())
        if common == 1:
            return 1
    size = max(k for k in range(1, side // IMAGE_SIZE + 1) if common % k == 0)
    enough = all(steps.sum() >= _ENOUGH_STEPS * (len(steps) // size - 1) for steps in (steps_x, steps_y))
    return size if enough else 1


def _read_back(image: Image.Image, size: int) -> Image.Image:
    small = image.resize((image.width // size, image.height // size), Image.Resampling.NEAREST)
    small.info = image.info
    return small


def _first_that_shows(data: bytes, kind: str, name: str) -> tuple[int, Image.Image, list[str]] | None:
    """Number, pixels and notes of the first later frame that is not one flat colour; None if there is none."""
    if kind == "TIFF":
        check_strips(data, name, _MAX_FRAMES)
    image = _opened(data, kind)
    size = image.size
    if kind in ("WebP", "AVIF") and image.width * image.height > _MAX_ANIMATED_PIXELS:
        return None  # Pillow holds several canvases of these
    for number in range(1, min(_MAX_FRAMES, _MAX_FRAME_PIXELS // (image.width * image.height)) + 1):
        try:
            image.seek(number)
            if kind == "TIFF":  # each page has a head of its own
                check_header(image, kind, data, name)
            if image.size != size:  # a page of another sort: a thumbnail, a mask
                continue
            image.load()
        except Exception:  # the last frame was before, or is damaged: the first is shown
            return None
        reduced, notes = reduce(image)
        if not is_flat(reduced):
            return number, reduced, notes
    return None


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block doesn't spoil the pixels
        return 1
