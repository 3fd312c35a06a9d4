"""What may be decoded at all: the limits, the format by its first bytes, what decoding would cost."""

import os
import stat
import struct
from typing import BinaryIO

from pi_heif import HeifImageFile
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ImageError

MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
MAX_ASPECT = 100  # longer side : shorter side; beyond it the square would show next to nothing of the picture

ALLOWED = "PNG, JPEG, HEIC, WebP, GIF, TIFF, BMP or AVIF, at most 20 MB and 50 megapixels"

# Only these plugins ever see the bytes, called directly: Image.open() would bring in Pillow's global limits
# and its exotic formats (EPS runs Ghostscript).
PLUGINS = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.jpeg_factory,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "HEIC": HeifImageFile,  # decodes alone: the encoders that pillow-heif brings aren't needed
}

# A decoded picture is reduced to 512 to 1,023 pixels on its shorter side, at least 16 times what the network
# sees: reducing first and resampling then can't be told from resampling at once. Long strips give way.
KEPT_SIDE = 16 * IMAGE_SIZE
KEPT_PIXELS = 4_000_000

# What decoding one picture may take, in bytes, beyond the 40 MB that Python, NumPy and Pillow take anyway.
_MAX_MEMORY = 560_000_000

# A progressive JPEG is decoded once over for each scan. Editors write about 10; hostile files thousands.
# (Films behind a picture, as telephones store them, hold the marker by chance, up to 300 times in 20 MB.)
_MAX_SCANS = 500

# 50 megapixels in tiles of 16×16 are 195,313.
_MAX_STRIPS = 200_000

# Pillow unpacks run-length coded BMP in Python, about a second a megabyte, and stalls all threads meanwhile.
_MAX_RLE_BYTES = 2_000_000


def printable(name: object) -> str:
    """A name as it may be shown: one line, no control or undecodable characters, of bounded length."""
    text = "".join(c if c.isprintable() else "?" for c in str(name))
    return text if len(text) <= 200 else "…" + text[-199:]


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size:,} bytes"


def read_bytes(source: bytes | str | os.PathLike | BinaryIO, name: str | None) -> tuple[bytes, str]:
    """The bytes of a source and the name to call it by; never reads more than a byte beyond the limit."""
    try:
        if isinstance(source, (bytes, bytearray, memoryview)):
            name = printable(name or "The picture")
            data, size = bytes(source[: MAX_BYTES + 1]), len(source)
        elif hasattr(source, "read"):
            name = printable(name or getattr(source, "name", None) or "The picture")
            if source.seekable():
                source.seek(0)
            data = source.read(MAX_BYTES + 1)
            size = len(data)
        else:
            name = printable(name or source)
            status = os.stat(source)
            if stat.S_ISDIR(status.st_mode):
                raise ImageError(f"{name}: this is a folder. Allowed: {ALLOWED}. Name a file in it.")
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device could block for ever
                raise ImageError(f"{name}: this is not a regular file. Allowed: {ALLOWED}. Copy it to one.")
            size = status.st_size
            data = b""
            if size <= MAX_BYTES:
                with open(source, "rb") as file:
                    data = file.read(MAX_BYTES + 1)
                size = len(data)
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file. Check the name. Allowed: {ALLOWED}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: can't be read ({reason}). Check its name and permissions.") from error
    if size > MAX_BYTES:
        arrived = f"{size / 1e6:,.1f} MB" if size > MAX_BYTES + 100_000 else "more than 20 MB"
        raise ImageError(f"{name}: the file is too large ({arrived}). Allowed: {ALLOWED}. Save it smaller.")
    if size == 0:
        raise ImageError(f"{name}: this is an empty file (0 bytes). Allowed: {ALLOWED}. Fetch or save it anew.")
    return data, name


HEAD_BYTES = 64  # as many as `kind_of` wants to see
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_ANY_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf"}  # HEIF with whatever codec


def kind_of(data: bytes) -> str | None:
    """The format by the first HEAD_BYTES bytes, a key of PLUGINS; None for all else. The name doesn't matter."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    if data[4:8] == b"ftyp":  # ISO base media: a box of brands (ISO/IEC 14496-12, section 4.3; 23008-12, annex B)
        end = min(max(int.from_bytes(data[:4]), 16), HEAD_BYTES)
        major, *others = [data[i : i + 4] for i in (8, *range(16, end, 4))]
        if major in (b"avif", b"avis") or (major in _ANY_BRANDS and not {b"avif", b"avis"}.isdisjoint(others)):
            return "AVIF"
        if major in _HEIC_BRANDS | _ANY_BRANDS:
            return "HEIC"
    return None


def sniff(data: bytes, name: str) -> str:
    """As `kind_of`; ImageError that says what arrived where it is no picture."""
    if kind := kind_of(data[:HEAD_BYTES]):
        return kind
    looks = "a video or sound" if data[4:8] == b"ftyp" else ""
    looks = looks or next((v for k, v in _FOREIGN.items() if data.startswith(k)), "not a picture in a known format")
    raise ImageError(
        f"{name}: this is {looks} ({megabytes(len(data))}). Allowed: {ALLOWED}. Save it as PNG or JPEG and try again."
    )


# What people drop by mistake, by first bytes.
_FOREIGN = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or office document",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML or SVG file",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"8BPS": "a Photoshop document",
    b"%!PS": "a PostScript document",
    b"\0\0\1\0": "an icon file",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\xff\x0a": "a JPEG XL picture",
}


def check_header(image: Image.Image, kind: str, data: bytes, name: str) -> None:
    """Refuse, before anything is decoded, what is too large, too narrow or too costly."""
    width, height = image.size
    arrived = f"{width:,} × {height:,} pixels, {kind}, {megabytes(len(data))}"
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: the picture is too large ({arrived}: {width * height / 1e6:.1f} megapixels). "
            f"Allowed: {ALLOWED}. Scale it down and try again."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{name}: the picture is too narrow ({arrived}). Allowed: at most {MAX_ASPECT} times as long as "
            "wide. Cut out the part that matters and try again."
        )
    memory = _memory(image, kind, data)
    if memory > _MAX_MEMORY:
        raise ImageError(
            f"{name}: to decode this picture would take {memory / 1e6:,.0f} MB of memory ({arrived}). "
            f"Allowed: {_MAX_MEMORY / 1e6:.0f} MB. Scale it down or save it as PNG or JPEG."
        )
    if kind == "JPEG" and (scans := data.count(b"\xff\xda")) > _MAX_SCANS:
        raise ImageError(
            f"{name}: the picture is stored in {scans:,} scans ({arrived}). Allowed: at most {_MAX_SCANS}. "
            "Save it again as PNG or JPEG."
        )
    if kind == "BMP" and image.info.get("compression") in (1, 2) and len(data) > _MAX_RLE_BYTES:
        raise ImageError(
            f"{name}: the picture is stored run-length coded ({arrived}). Allowed: at most "
            f"{_MAX_RLE_BYTES / 1e6:.0f} MB of that. Save it again as PNG or JPEG."
        )


def check_strips(data: bytes, name: str, pages: int = 1) -> None:
    """Refuse a TIFF of too many strips or tiles before Pillow makes objects for all (TIFF 6.0, section 2).

    Looks at the first `pages`.
    """
    order = "<" if data.startswith(b"I") else ">"
    if data[2:4] in (b"+\0", b"\0+"):  # BigTIFF
        head, number, entry, link = "8xQ", "Q", "HHQ8x", "Q"
    else:
        head, number, entry, link = "4xL", "H", "HHL4x", "L"
    (start,) = struct.unpack_from(order + head, data)
    strips = 0
    for page in range(pages):
        if page and not 0 < start < len(data):
            break
        (entries,) = struct.unpack_from(order + number, data, start)
        start += struct.calcsize(order + number)
        size = struct.calcsize(order + entry)
        end = start + min(entries, (len(data) - start) // size) * size
        table = struct.iter_unpack(order + entry, data[start:end])
        strips = max((strips, *(n for tag, _, n in table if tag in (273, 324))))
        start = struct.unpack_from(order + link, data, end)[0] if end + 8 <= len(data) else 0
    if strips > _MAX_STRIPS:
        raise ImageError(
            f"{name}: the TIFF is cut into {strips:,} strips or tiles ({megabytes(len(data))}). "
            f"Allowed: at most {_MAX_STRIPS:,}. Save it again as PNG or JPEG."
        )


def _memory(image: Image.Image, kind: str, data: bytes) -> int:
    """The most bytes that decoding takes at a time, where that can be more than _MAX_MEMORY."""
    width, height = image.size
    if kind == "WebP":
        return width * height * 12  # two canvases of the decoder and a copy
    if kind == "AVIF":
        channels = len(image.getbands())
        # Box av1C: bit 6 of its third byte tells planes of 10 or 12 bits (AV1 in ISOBMFF, section 2.3.3).
        deep = any(len(box) > 2 and box[2] & 0x40 for box in data[:100_000].split(b"av1C")[1:])
        planes = channels * (2 if deep else 1)
        return width * height * (planes + 2 * channels + 2)  # planes, pixels, a copy, spare
    if kind == "HEIC":
        # Measured with libheif 1.23: the peak of decoding 24 megapixels of 4:4:4. Of 4:2:0 it is half as much.
        deep, alpha = image.info.get("bit_depth", 8) > 8, image.mode == "RGBA"
        return int(width * height * {(0, 0): 9.1, (0, 1): 12.4, (1, 0): 15.1, (1, 1): 20.3}[deep, alpha])
    if kind == "TIFF":
        tags = image.tag_v2
        rows = min(height, tags.get(323) or tags.get(278) or height)  # of a tile, of a strip
        samples = tags.get(258, (1,))
        depth = max(samples) * max(len(samples), tags.get(277, 1)) / 8
        return int(width * height * 4 + rows * width * depth)  # libtiff decodes whole strips
    return 0
