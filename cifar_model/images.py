"""From any picture file to the 32×32 pixels a network takes: the one way in for all who read pictures.

Bytes are hostile until proved otherwise: what a file claims is checked from its header before anything is
decoded, and whatever goes wrong comes out as one ImageError that a person can act on.
"""

import base64
import functools
import io
import math
import os
import stat
import struct
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from .classes import IMAGE_SIZE
from .errors import ImageError

MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
MAX_ASPECT = 100  # longer side : shorter side; beyond it the square would show next to nothing of the picture
IMAGE_SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif",
)  # fmt: skip

ALLOWED = "PNG, JPEG, WebP, GIF, TIFF, BMP or AVIF, at most 20 MB and 50 megapixels"

# Only these plugins ever see the bytes, called directly: Image.open() would bring in Pillow's global limits
# and its exotic formats (EPS runs Ghostscript).
_PLUGINS = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.jpeg_factory,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}

# A decoded picture is reduced to 512 to 1,023 pixels on its shorter side, at least 16 times what the network
# sees: reducing first and resampling then can't be told from resampling at once. Long strips give way.
_KEPT_SIDE = 16 * IMAGE_SIZE
_KEPT_PIXELS = 4_000_000

# What decoding one picture may take, in bytes, beyond the 40 MB that Python, NumPy and Pillow take anyway.
_MAX_MEMORY = 560_000_000

# A progressive JPEG is decoded once over for each scan. Editors write about 10; hostile files thousands.
# (Films behind a picture, as telephones store them, hold the marker by chance, up to 300 times in 20 MB.)
_MAX_SCANS = 500

# 50 megapixels in tiles of 16×16 are 195,313.
_MAX_STRIPS = 200_000

# Pillow unpacks run-length coded BMP in Python, about a second a megabyte, and stalls all threads meanwhile.
_MAX_RLE_BYTES = 2_000_000

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
    data, name = _read(source, name)
    kind = _sniff(data, name)
    try:
        if kind == "TIFF":
            _check_strips(data, name)
        image = _PLUGINS[kind](io.BytesIO(data), "")  # reads the header only
        _check_header(image, kind, data, name)
        if kind == "JPEG":
            image.draft(None, (_KEPT_SIDE, _KEPT_SIDE))  # decodes at 1/2, 1/4 or 1/8 where that is enough
        pixels = _load(image, kind)
        turn = _UPRIGHT.get(_orientation(image))
        profile = image.info.get("icc_profile")
        picture = _to_srgb(_reduce(pixels), profile)
        picture = picture.transpose(turn) if turn is not None else picture.copy()
    except ImageError:
        raise
    except Exception as error:  # damaged bytes make decoders raise nearly anything, MemoryError included
        raise ImageError(
            f"{name}: this {kind} file ({_megabytes(len(data))}) can't be decoded; it is damaged or cut "
            f"short ({_printable(error).rstrip('.') or type(error).__name__}). Allowed: {ALLOWED}. "
            "Open it in an image editor and save it again, or fetch it anew."
        ) from error
    picture.info = {}  # the profile and the orientation no longer apply
    return picture


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


def crop_box(
    width: int, height: int, position: tuple[float, float] = (0.5, 0.5)
) -> tuple[int, int, int, int]:
    """The largest square within width × height pixels: (left, top, right, bottom), the last two excluded."""
    x, y = position
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ImageError(f"The square's position must be two numbers from 0 to 1. Received: {position}.")
    side = min(width, height)
    left, top = round((width - side) * x), round((height - side) * y)
    return left, top, left + side, top + side


def find_images(
    paths: Iterable[str | os.PathLike], *, on_error: Callable[[Path, ImageError], None] | None = None
) -> list[Path]:
    """List picture files: files as named, folders searched through and through by suffix.

    The order is that of `paths`, sorted within each folder; a file reached twice is listed once; in folders,
    hidden files are left out. `on_error`, if given, hears of each path that would raise; the rest is listed.

    Raises
    ------
    ImageError
        A path that doesn't exist, or a folder that can't be read.
    """

    def refuse(path: Path, reason: str) -> None:
        error = ImageError(f"{_printable(path)}: {reason}")
        if on_error is None:
            raise error
        on_error(path, error)

    def unreadable(error: OSError) -> None:
        refuse(Path(error.filename), f"can't be read ({error.strerror}). Check its permissions.")

    found = {}
    for path in map(Path, paths):
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        except (OSError, ValueError) as error:
            refuse(path, f"{getattr(error, 'strerror', None) or error}. Check the name and its permissions.")
            continue
        if is_folder:
            inside = [
                Path(folder, file)
                for folder, _, files in os.walk(path, onerror=unreadable)
                for file in files
                if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith(".")
            ]
            files = sorted(inside)
        else:
            files = [path]
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


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


def _printable(name: object) -> str:
    """A name as it may be shown: one line, no control or undecodable characters, of bounded length."""
    text = "".join(c if c.isprintable() else "?" for c in str(name))
    return text if len(text) <= 200 else "…" + text[-199:]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size:,} bytes"


def _read(source: bytes | str | os.PathLike | BinaryIO, name: str | None) -> tuple[bytes, str]:
    """The bytes of a source and the name to call it by; never reads more than a byte beyond the limit."""
    try:
        if isinstance(source, (bytes, bytearray, memoryview)):
            name = _printable(name or "The picture")
            data, size = bytes(source[: MAX_BYTES + 1]), len(source)
        elif hasattr(source, "read"):
            name = _printable(name or getattr(source, "name", None) or "The picture")
            if source.seekable():
                source.seek(0)
            data = source.read(MAX_BYTES + 1)
            size = len(data)
        else:
            name = _printable(name or source)
            status = os.stat(source)
            if stat.S_ISDIR(status.st_mode):
                raise ImageError(f"{name}: this is a folder. Allowed: {ALLOWED}. Name a file in it.")
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device could block for ever
                raise ImageError(f"{name}: this is no regular file. Allowed: {ALLOWED}. Copy it to one.")
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
        raise ImageError(f"{name}: the file is empty (0 bytes). Allowed: {ALLOWED}. Fetch or save it anew.")
    return data, name


def _sniff(data: bytes, name: str) -> str:
    """The format by the first bytes, a key of _PLUGINS; the name's suffix doesn't matter."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
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
    if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in data[16:64]):
        return "AVIF"
    looks = "HEIC" if brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1") else ""
    looks = looks or next((v for k, v in _FOREIGN.items() if data.startswith(k)), "no picture known here")
    raise ImageError(
        f"{name}: this is {looks} ({_megabytes(len(data))}). Allowed: {ALLOWED}. "
        "Save it as PNG or JPEG and try again."
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


def _check_header(image: Image.Image, kind: str, data: bytes, name: str) -> None:
    """Refuse, before anything is decoded, what is too large, too narrow or too costly."""
    width, height = image.size
    arrived = f"{width:,} × {height:,} pixels, {kind}, {_megabytes(len(data))}"
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


def _check_strips(data: bytes, name: str) -> None:
    """Refuse a TIFF of too many strips or tiles before Pillow makes objects for all (TIFF 6.0, section 2)."""
    order = "<" if data.startswith(b"I") else ">"
    if data[2:4] in (b"+\0", b"\0+"):  # BigTIFF
        start, number, entry = *struct.unpack_from(order + "8xQ", data), "Q", "HHQ8x"
    else:
        start, number, entry = *struct.unpack_from(order + "4xL", data), "H", "HHL4x"
    (entries,) = struct.unpack_from(order + number, data, start)
    start += struct.calcsize(order + number)
    size = struct.calcsize(order + entry)
    table = data[start : start + min(entries, (len(data) - start) // size) * size]
    strips = max(
        (n for tag, _, n in struct.iter_unpack(order + entry, table) if tag in (273, 324)), default=0
    )
    if strips > _MAX_STRIPS:
        raise ImageError(
            f"{name}: the TIFF is cut into {strips:,} strips or tiles ({_megabytes(len(data))}). "
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
    if kind == "TIFF":
        tags = image.tag_v2
        rows = min(height, tags.get(323) or tags.get(278) or height)  # of a tile, of a strip
        samples = tags.get(258, (1,))
        depth = max(samples) * max(len(samples), tags.get(277, 1)) / 8
        return int(width * height * 4 + rows * width * depth)  # libtiff decodes whole strips
    return 0


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


def _reduce(image: Image.Image) -> Image.Image:
    """Flatten a decoded picture and take the mean of blocks, as _KEPT_SIDE and _KEPT_PIXELS say.

    Works in bands of about a megapixel, so that the only picture ever held whole is the one that arrived.
    Returns mode L, RGB, CMYK or LAB.
    """
    width, height = image.size
    factor = max(1, min(width, height) // _KEPT_SIDE, math.isqrt(width * height // _KEPT_PIXELS))
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


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
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
