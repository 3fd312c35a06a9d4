"""Pictures: every format and mode against Pillow and NumPy as oracles, and every way a file can be wrong."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers import REPOSITORY
from PIL import Image, ImageCms, ImageFile, features

from cifar_model.errors import ImageError
from cifar_model.pictures.admit import MAX_BYTES
from cifar_model.pictures.decode import decode_image
from cifar_model.pictures.encode import data_url, encode_png, enlarge
from cifar_model.pictures.fit import crop_box, fit_image, load_image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

LOSSLESS = {
    "png": {},
    "webp": {"lossless": True},
    "tiff": {"compression": "tiff_lzw"},
    "bmp": {},
    "avif": {"quality": 100, "subsampling": "4:4:4"},
}
FORMATS = [f for f in (*LOSSLESS, "jpeg", "gif") if f != "avif" or features.check("avif")]


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def photo(width=32, height=32):
    """A smooth picture without symmetry; uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    return (np.stack([x, y, (x + 2 * y) / 3], -1) * 250).astype(np.uint8)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


# ---- what comes out


@pytest.mark.parametrize("format", ["png", "webp", "tiff", "bmp"])
def test_32_by_32_comes_out_bit_for_bit(format, noise):
    data = encoded(Image.fromarray(noise), format, **LOSSLESS[format])
    result = load_image(data)
    np.testing.assert_array_equal(result, noise)
    assert result.dtype == np.uint8 and result.flags.writeable


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_shows_the_same_picture(format):
    original = photo(48, 40)
    data = encoded(Image.fromarray(original), format, **LOSSLESS.get(format, {"quality": 95}))
    decoded = np.asarray(decode_image(data), int)
    assert np.abs(decoded - original).mean() < (6 if format == "gif" else 2)


@pytest.mark.parametrize("source", ["bytes", "bytearray", "path", "str", "file", "read file"])
def test_sources_give_the_same(source, tmp_path, noise):
    data = encoded(Image.fromarray(noise), "png")
    path = tmp_path / "ein Bild ü.jpg"  # the suffix is wrong and doesn't matter
    path.write_bytes(data)
    read_before = io.BytesIO(data)
    read_before.read()
    sources = {
        "bytes": data,
        "bytearray": bytearray(data),
        "path": path,
        "str": str(path),
        "file": io.BytesIO(data),
        "read file": read_before,
    }
    np.testing.assert_array_equal(load_image(sources[source]), noise)


@pytest.mark.parametrize("format", [f for f in FORMATS if f not in ("gif", "bmp")])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_ends_upright(format, orientation):
    upright = photo(48, 32)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(upright)
    if orientation in undo:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, format, exif=exif, **LOSSLESS.get(format, {"quality": 95}))
    decoded = decode_image(data)
    assert decoded.size == (48, 32)
    assert np.abs(np.asarray(decoded, int) - upright).mean() < 3


def test_transparency_goes_over_white(noise):
    alpha = np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8)
    share = alpha[..., None] / 255
    rgba = Image.fromarray(np.dstack([noise, alpha]))
    for format in ("png", "tiff"):
        result = load_image(encoded(rgba, format))
        np.testing.assert_allclose(result, noise * share + 255 * (1 - share), atol=0.51)
    grey = rgba.convert("LA")
    value = np.asarray(grey, float)
    expected = value[..., :1] * share + 255 * (1 - share)
    np.testing.assert_allclose(load_image(encoded(grey, "png")), expected.repeat(3, 2), atol=0.51)


def test_transparency_stays_right_when_a_large_picture_is_reduced():
    # Black hidden under full transparency must not bleed into what is visible.
    pixels = np.zeros((2048, 2048, 4), np.uint8)
    pixels[::2, :, :] = [255, 255, 255, 255]
    assert (load_image(encoded(Image.fromarray(pixels), "png", compress_level=1)) == 255).all()


def test_palette_grey_and_one_bit(noise):
    palette = Image.fromarray(noise).quantize(64)
    expected = np.asarray(palette.convert("RGB"))
    for format in ("png", "gif", "bmp", "tiff"):
        np.testing.assert_array_equal(load_image(encoded(palette, format)), expected)
    clear = np.asarray(palette) == 5
    result = load_image(encoded(palette, "png", transparency=5))
    np.testing.assert_array_equal(result, np.where(clear[..., None], 255, expected))

    grey = Image.fromarray(noise[..., 0])
    np.testing.assert_array_equal(load_image(encoded(grey, "png")), noise[..., :1].repeat(3, 2))
    result = load_image(encoded(grey, "png", transparency=int(noise[0, 0, 0])))
    assert (result[noise[..., 0] == noise[0, 0, 0]] == 255).all()

    bits = noise[..., 0] > 127
    for format in ("png", "tiff", "bmp"):
        result = load_image(encoded(Image.fromarray(bits), format))
        np.testing.assert_array_equal(result, np.where(bits[..., None], 255, 0).repeat(3, 2))


def test_more_than_8_bits_are_scaled_not_cut():
    values = np.linspace(0, 65535, 1024).reshape(32, 32).astype(np.uint16)
    expected = np.rint(values / 257).astype(int)[..., None].repeat(3, 2)
    little, big = Image.fromarray(values), Image.fromarray(values.astype(">u2"))
    assert (little.mode, big.mode) == ("I;16", "I;16B")
    whole = Image.fromarray(values.astype(np.int32))
    unit = Image.fromarray((values / 65535).astype(np.float32))
    pictures = [
        encoded(little, "png"),
        encoded(little, "tiff"),
        encoded(big, "tiff"),
        encoded(whole, "tiff"),
        encoded(unit, "tiff"),
        encoded(little, "tiff", compression="tiff_adobe_deflate"),
    ]
    for data in pictures:
        np.testing.assert_array_equal(load_image(data), expected)


def test_16_bit_rgb_png():
    # Pillow can't write one, so this one is written by hand.
    values = np.random.default_rng(2).integers(0, 65536, (32, 32, 3)).astype(">u2")

    def chunk(kind, body):
        checked = kind + body
        return len(body).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = (32).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    parts = {"plain": b"", "with a transparent colour": chunk(b"tRNS", values[3, 4].tobytes())}
    for transparency in parts.values():
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + transparency
        data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        result = load_image(data).astype(int)
        off = np.abs(result - values / 257).max(axis=2)
        assert (off <= 1).sum() >= 1023  # all but the transparent one


def test_nan_and_infinite_values_come_out_black_or_white():
    values = np.full((32, 32), 0.5, np.float32)
    values[0, :3] = [np.nan, np.inf, -np.inf]
    result = load_image(encoded(Image.fromarray(values), "tiff"))
    assert result[0, :3, 0].tolist() == [0, 255, 0] and result[5, 5, 0] == 128


def test_cmyk_is_not_inverted():
    cmyk = Image.fromarray(photo()).convert("CMYK")
    for format in ("jpeg", "tiff"):
        result = load_image(encoded(cmyk, format, quality=95)).astype(int)
        assert np.abs(result - photo()).mean() < 4


def p3_profile():
    """A minimal Display P3 profile (ICC.1:2022): D50 primaries, one gamma of 2.2, written by hand."""

    def fixed(value):
        return round(value * 65536).to_bytes(4, "big", signed=True)

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + (1).to_bytes(4, "big") + round(2.2 * 256).to_bytes(2, "big") + b"\0\0"
    tags = {
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.51512, 0.2412, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.1571, 0.06657, 0.78407),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = len(tags).to_bytes(4, "big"), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + (start + len(body)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body += content
    size = start + len(body)
    header = size.to_bytes(4, "big") + b"\0\0\0\0" + b"\x02\x40\0\0" + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + fixed(0.9642) + fixed(1) + fixed(0.8249)
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("format", [f for f in FORMATS if f not in ("gif", "bmp")])
def test_colour_profiles_end_in_srgb(format):
    original = photo()
    data = encoded(Image.fromarray(original), format, icc_profile=p3_profile(), **LOSSLESS.get(format, {"quality": 98}))
    # Oracle: the same in floating point, Display P3 → XYZ (D50) → linear sRGB (Bradford-adapted) → sRGB.
    to_xyz = np.array([[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
    from_xyz = np.linalg.inv([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]])
    light = np.clip((original / 255) ** 2.2 @ to_xyz.T @ from_xyz.T, 0, 1)
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    result = load_image(data).astype(float)
    assert np.abs(result - original).max() > 15  # the profile does change the picture
    assert np.abs(result - expected).mean() < 2.5
    assert not decode_image(data).info


def test_an_srgb_profile_changes_nothing_and_a_broken_or_alien_one_is_ignored(noise):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    p3 = p3_profile()
    for profile in (srgb, lab, b"nonsense", p3[:200], p3[:100] + os.urandom(300), b"\0" * 5_000_000):
        data = encoded(Image.fromarray(noise), "tiff", icc_profile=profile)
        np.testing.assert_array_equal(load_image(data), noise)
    # A grey picture may carry an RGB profile: it is its three equal channels that the profile speaks of.
    grey = Image.fromarray(noise[..., 0])
    result = load_image(encoded(grey, "png", icc_profile=p3)).astype(int)
    assert np.abs(result - noise[..., :1]).max() < 12


def test_downscaling_is_anti_aliased_and_keeps_the_aspect():
    stripes = np.zeros((320, 480, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(load_image(encoded(Image.fromarray(stripes), "png")).astype(int) - 127).max() <= 1
    # A centred disc in a wide picture stays a disc.
    y, x = np.mgrid[0:300, 0:600]
    disc = ((x - 299.5) ** 2 + (y - 149.5) ** 2 < 100**2) * np.uint8(255)
    result = fit_image(Image.fromarray(disc).convert("RGB"))[..., 0].astype(int)
    assert np.abs(result - result.T).max() <= 3  # rounding


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_reducing_first_makes_no_visible_difference(format):
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
    large = coarse.resize((2400, 1800), Image.Resampling.BICUBIC)
    box = (300, 0, 2100, 1800)
    expected = np.asarray(large.resize((32, 32), Image.Resampling.BICUBIC, box=box), int)
    result = load_image(encoded(large, format, **({"quality": 95} if format == "jpeg" else {})))
    assert decode_image(encoded(large, "png")).size == (800, 600)
    assert np.abs(result - expected).max() <= 3


def test_position_moves_the_square():
    picture = Image.fromarray(np.repeat(photo(32, 32), 3, axis=1)[:, : 32 * 3])
    left = fit_image(picture, position=(0, 0.5))
    np.testing.assert_array_equal(left, np.asarray(picture)[:, :32])
    right = fit_image(picture, position=(1, 0))
    np.testing.assert_array_equal(right, np.asarray(picture)[:, 64:])
    assert crop_box(100, 40) == (30, 0, 70, 40)
    assert crop_box(40, 100, (0, 1)) == (0, 60, 40, 100)
    for position in ((-0.1, 0), (0, 1.1), (float("nan"), 0)):
        with pytest.raises(ImageError, match="from 0 to 1"):
            crop_box(10, 20, position)


def test_tiny_pictures_are_enlarged():
    assert load_image(encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "png")).tolist() == [[[9, 8, 7]] * 32] * 32


@pytest.mark.parametrize("format", [f for f in FORMATS if f in ("png", "gif", "webp", "tiff", "avif")])
def test_of_many_frames_only_the_first_counts(format, noise):
    first = Image.new("RGB", (32, 32), "red")
    first.paste("blue", (0, 0, 16, 32))
    frames = [first, *(Image.fromarray(np.roll(noise, i)) for i in range(5))]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert np.abs(load_image(data).astype(int)[:, 20:] - [254, 0, 0]).max() <= 6


# ---- what is refused


def refused(source, *words, **options):
    with pytest.raises(ImageError) as caught:
        load_image(source, **options)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    return message


def test_the_message_says_what_arrived_what_is_allowed_and_what_to_do():
    message = refused(b"", "holiday.png", "0 bytes", "PNG, JPEG", "20 MB", "50 megapixels", name="holiday.png")
    assert message.endswith(".")
    refused(b"hello world", "11 bytes", "Save it as PNG or JPEG")
    refused(b"%PDF-1.7 ....", "a PDF document")
    refused(b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript")
    refused(b"\0\0\0\x18ftypheic" + bytes(40), "HEIC", "damaged or cut short")
    refused(b"\0\0\0\x18ftypisom" + bytes(40), "a video or sound")
    refused(b"", "empty file")
    refused(b"BM", "BMP", "damaged or cut short")
    refused(b"x", "new?line", name="new\nline")


def test_paths_that_are_no_picture_files(tmp_path):
    refused(tmp_path, str(tmp_path), "folder")
    refused(tmp_path / "nothing.png", "nothing.png", "no such file")
    refused("a\0b", "a?b", "can't be read")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        refused(tmp_path / "pipe.png", "not a regular file")
    if hasattr(os, "geteuid") and os.geteuid():
        (tmp_path / "secret.png").write_bytes(b"x")
        (tmp_path / "secret.png").chmod(0)
        refused(tmp_path / "secret.png", "secret.png", "can't be read")


def test_too_many_bytes_are_not_even_read(tmp_path):
    path = tmp_path / "huge.png"
    with open(path, "wb") as file:
        file.truncate(30_000_000_000 if sys.platform == "linux" else 20_000_001)  # sparse
    refused(path, "huge.png", "too large", "20 MB")
    refused(bytes(MAX_BYTES + 1), "more than 20 MB")

    class Endless(io.RawIOBase):
        def read(self, size=-1):
            assert 0 <= size <= MAX_BYTES + 1
            return bytes(size)

    refused(Endless(), "more than 20 MB")


def with_size(format, width, height):
    """A small file whose header claims another size."""
    if format == "gif":
        data = bytearray(encoded(Image.new("P", (8, 8)), "gif"))
        data[6:10] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    elif format == "png":
        data = bytearray(encoded(Image.new("RGB", (8, 8)), "png"))
        data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    elif format == "bmp":
        data = bytearray(encoded(Image.new("RGB", (8, 8)), "bmp"))
        data[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    elif format == "jpeg":
        data = bytearray(encoded(Image.new("RGB", (8, 8)), "jpeg"))
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    elif format == "webp":
        data = bytearray(encoded(Image.new("RGB", (8, 8)), "webp", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"))
        data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    else:
        assert format == "tiff"
        data = encoded(Image.new("RGB", (8, 8)), "tiff", compression="tiff_lzw")
        old = [tag.to_bytes(2, "little") + b"\3\0\1\0\0\0\x08\0\0\0" for tag in (256, 257)]
        for tag, size in zip(old, (width, height), strict=True):
            assert tag in data
            data = data.replace(tag, tag[:2] + b"\4\0\1\0\0\0" + size.to_bytes(4, "little"))
    return bytes(data)


@pytest.mark.parametrize("size", [(8000, 7000), (60000, 60000)])
@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "gif", "tiff", "bmp"])
def test_decompression_bombs_are_refused_by_their_header(format, size, monkeypatch):
    if format == "webp" and size[0] > 16383:
        size = (16000, 16000)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    refused(with_size(format, *size), "megapixels")


@pytest.mark.parametrize("limit", [None, 100, 10])
def test_pillows_global_limit_does_not_matter(limit, monkeypatch, noise):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(noise), "png")), noise)
    refused(with_size("png", 8000, 7000), "56.0 megapixels")


def test_narrow_and_empty_pictures():
    refused(encoded(Image.new("RGB", (1, 101)), "png"), "too narrow", "1 × 101")
    assert load_image(encoded(Image.new("RGB", (100, 1)), "png")).shape == (32, 32, 3)
    for format in ("png", "jpeg", "bmp", "tiff"):
        refused(with_size(format, 0, 8))


def test_a_jpeg_of_endless_scans_is_refused():
    data = encoded(Image.fromarray(photo()), "jpeg", progressive=True)
    at = data.rindex(b"\xff\xda")
    refused(data[:at] + data[at:-2] * 600 + data[-2:], "scans")


def test_run_length_coded_bmp():
    # Two runs of 4 pixels a row, each followed by an end-of-line mark (BITMAPINFOHEADER, BI_RLE8).
    def bmp(rows):
        size = len(rows).to_bytes(4, "little")
        fields = (40).to_bytes(4, "little") + (8).to_bytes(4, "little") * 2 + b"\1\0\x08\0\1\0\0\0" + size
        palette = bytes(value for grey in range(256) for value in (grey, grey, grey, 0))
        head = fields + bytes(8) + (256).to_bytes(4, "little") + bytes(4) + palette
        return b"BM" + bytes(8) + (14 + len(head)).to_bytes(4, "little") + head + rows

    decoded = np.asarray(decode_image(bmp(b"\4\x0a\4\xc8\0\0" * 8 + b"\0\1")))
    assert decoded[..., 0].tolist() == [[10] * 4 + [200] * 4] * 8
    refused(bmp(b"\1\5" * 1_000_000), "run-length", "2 MB")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_of_endless_strips_is_refused(order, big):
    count = 300_000
    tags = {256: 100, 257: 100, 258: 8, 259: 1, 262: 1, 273: 400, 277: 1, 278: 1, 279: 400}
    mark, form = (b"II", b"MM")[order == ">"], "HHQQ" if big else "HHLL"
    head = struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(tags)) if big else b""
    head = head or struct.pack(order + "HLH", 42, 8, len(tags))
    entries = b"".join(
        struct.pack(order + form, tag, 4, count if value == 400 else 1, value) for tag, value in tags.items()
    )
    refused(mark + head + entries + bytes(4 * count), "300,000 strips")


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_files_and_flipped_bits_give_a_picture_or_an_image_error(format):
    options = {"exif": Image.Exif(), "icc_profile": p3_profile()} if format not in ("gif", "bmp") else {}
    if options:
        options["exif"][0x0112] = 6
    whole = encoded(Image.fromarray(photo(24, 24)), format, **options)
    rng = np.random.default_rng(4)
    cut = [whole[:length] for length in range(0, len(whole) - 12, max(1, len(whole) // 60))]
    flipped = []
    for _ in range(150):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(0, len(data), rng.integers(1, 6))] = rng.integers(0, 256)
        flipped.append(data.tobytes())
    pictures = 0
    for data in cut + flipped:
        try:
            result = load_image(data)
        except ImageError as error:
            assert len(str(error)) > 60
        else:
            assert result.shape == (32, 32, 3) and result.dtype == np.uint8
            pictures += 1
    assert pictures < len(cut + flipped)


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "avif"])
def test_half_a_file_is_an_error_not_half_a_picture(format):
    data = encoded(Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)), format)
    refused(data[: len(data) // 2], "damaged or cut short")


# ---- memory, lists, files out


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    "kind", ["RGBA png", "CMYK jpeg", "I;16 png", "RGB tiff", "RGB webp at its limit", "RGB webp above it"]
)
def test_the_largest_pictures_take_less_than_600_mb(kind, tmp_path):
    mode, format, *limit = kind.split(maxsplit=2)
    side = 6800 if limit == ["at its limit"] else 7070
    options = {
        "png": {"compress_level": 1},
        "jpeg": {"progressive": True},
        "tiff": {"compression": "tiff_lzw"},
        "webp": {"method": 0},
    }
    path = tmp_path / "large"
    Image.new(mode, (side, side)).save(path, format, **options[format])
    script = (
        "import re, sys; from cifar_model.errors import ImageError; from cifar_model.pictures.fit import load_image\n"
        "try: load_image(sys.argv[1])\n"
        "except ImageError as error: print(error)\n"
        "else: print('answered')\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    outcome, peak = run.stdout.splitlines()
    assert int(peak) * 1024 <= 600_000_000
    assert ("memory" in outcome) if limit == ["above it"] else outcome == "answered"


def test_pictures_out(noise):
    assert np.array_equal(np.asarray(enlarge(noise, 3)), noise.repeat(3, 0).repeat(3, 1))
    for picture in (noise, Image.fromarray(noise)):
        with Image.open(io.BytesIO(encode_png(picture, scale=2))) as png:
            assert png.format == "PNG"
            np.testing.assert_array_equal(np.asarray(png)[::2, ::2], noise)
    assert data_url(noise).startswith("data:image/png;base64,iVBOR")
