"""From any picture file to upright RGB: the one way in for all who read pictures.

Bytes are hostile until proved otherwise: what a file claims is checked from its header before anything is
decoded, and whatever goes wrong comes out as one ImageError that a person can act on.
"""

import io
import os
import warnings
from typing import BinaryIO

from PIL import Image

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
from cifar_model.pictures.color import reduce, to_srgb

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


def decode_image(source: bytes | str | os.PathLike | BinaryIO, *, name: str | None = None) -> Image.Image:
    """Decode the first frame of a picture: upright, in sRGB, transparency over white.

    A picture whose shorter side has 1,024 pixels or more is reduced by a whole factor (mean of each block) to
    no less than 512 there, a long strip further. Peak memory stays below 600 MB.

    Parameters
    ----------
    source : the bytes, a path, or a binary file object (read from its start if it can be rewound)
    name : what to call the picture in errors; default: the path's or file object's own name

    Returns
    -------
    PIL.Image.Image, mode "RGB", without metadata

    Raises
    ------
    ImageError
        Missing, unreadable, empty, not one of the seven formats, damaged, over 20 MB, over 50 megapixels, or
        more than 100 times as long as wide. Also what would take more than 600 MB to decode: WebP over 46
        megapixels, AVIF over 40 with transparency or more than 8 bits (31 with both), some TIFF in one strip.
    """
    data, name = read_bytes(source, name)
    kind = sniff(data, name)
    try:
        if kind == "TIFF":
            check_strips(data, name)
        image = PLUGINS[kind](io.BytesIO(data), "")  # reads the header only
        check_header(image, kind, data, name)
        if kind == "JPEG":
            image.draft(None, (KEPT_SIDE, KEPT_SIDE))  # decodes at 1/2, 1/4 or 1/8 where that is enough
        pixels = _load(image, kind)
        turn = _UPRIGHT.get(_orientation(image))
        profile = image.info.get("icc_profile")
        picture = to_srgb(reduce(pixels), profile)
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
    return picture


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


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block doesn't spoil the pixels
        return 1
