"""Pictures that other programs show black, white or not at all: read as they were meant, and said how."""

import io
import zlib

import numpy as np
import pillow_heif
import pytest
from helpers import make_pictures
from PIL import Image

from cifar_model.errors import ImageError
from cifar_model.pictures import admit, decode
from cifar_model.pictures.ambiguous import Mix, mix_pictures
from cifar_model.pictures.decode import block_size, read_picture
from cifar_model.pictures.encode import encode_png
from cifar_model.pictures.fit import fit_image, load_image, load_picture
from cifar_model.storage import assets_dir


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def photo(width=96, height=64):
    """Smooth colours, a bright corner at the top left: a turn of the picture shows."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([200 - rows, 220 - 2 * columns, 60 + rows + columns // 2], -1).clip(0, 255)
    pixels[:20, :20] = [250, 240, 30]
    return pixels.astype(np.uint8)


def heic(image, **options):
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90, **options)
    return file.getvalue()


# ---- HEIC


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_heic_is_read(mode):
    image = Image.fromarray(photo()).convert(mode)
    decoded = read_picture(heic(image), name="IMG_0001.HEIC")
    assert decoded.image.size == (96, 64) and decoded.image.mode == "RGB" and decoded.notes == ()
    assert np.abs(np.asarray(decoded.image, int) - np.asarray(image.convert("RGB"), int)).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_upright_once(orientation):
    # pillow-heif turns EXIF's orientation into the container's own boxes (irot, imir) and leaves it in EXIF as well.
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(photo())
    jpeg = encoded(stored, "JPEG", quality=95, exif=exif)
    found, expected = read_picture(heic(stored, exif=exif.tobytes())).image, read_picture(jpeg).image
    assert found.size == expected.size
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).mean() < 5


def test_heic_has_the_same_limits(monkeypatch):
    with pytest.raises(ImageError, match="too narrow"):
        read_picture(heic(Image.fromarray(photo(640, 4))))
    data = heic(Image.fromarray(photo()))
    monkeypatch.setattr(decode, "_load", None)  # nothing may be decoded
    monkeypatch.setattr("cifar_model.pictures.admit.MAX_PIXELS", 6_000)
    with pytest.raises(ImageError, match="too large.*96 × 64 pixels, HEIC"):
        read_picture(data)


def test_heic_cut_short_or_with_flipped_bits_gives_a_picture_or_an_image_error():
    data = heic(Image.fromarray(photo()))
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_picture(data[: len(data) // 2])
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = np.frombuffer(data, np.uint8).copy()
        broken[rng.integers(0, len(data), rng.integers(1, 6))] = rng.integers(0, 256)
        try:
            assert read_picture(broken.tobytes()).image.mode == "RGB"
        except ImageError as error:
            assert len(str(error)) > 60


# ---- depth


GREY = (np.add.outer(np.arange(40), 3 * np.arange(40)) + 40).clip(0, 255)  # 40 to 196
GREY[:4] = 255


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("format", ["png", "tiff"])
def test_fewer_bits_in_16_are_stretched_and_that_is_said(bits, format):
    values = np.rint(GREY * ((2**bits - 1) / 255)).astype(np.uint16)
    decoded = read_picture(encoded(Image.fromarray(values), format))
    assert np.abs(np.asarray(decoded.image, int)[..., 0] - GREY).max() <= 1
    assert f"{bits} of 16 bits" in decoded.notes[0] and len(decoded.notes) == 1
    # 8 bits moved up: the brightest value is below the top.
    shifted = encoded(Image.fromarray(GREY.astype(np.uint16) << (bits - 8)), format)
    assert np.abs(np.asarray(read_picture(shifted).image, int)[..., 0] - GREY).max() <= 1


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        (np.rint(GREY * (4095 / 255)).astype(np.uint16), [65535]),
        (np.rint(GREY * (4095 / 255)).astype(np.int32), [-32768, 10**6]),
        ((GREY / 255).astype(np.float32), [1e6]),
        ((GREY / 255).astype(np.float32), [-9999.0]),
        ((GREY / 255).astype(np.float32), [np.nan, np.inf]),
    ],
)
def test_a_value_far_from_all_others_does_not_darken_the_picture(values, marks):
    marked = values.copy()
    marked[20, 3 : 3 + len(marks)] = marks
    decoded = read_picture(encoded(Image.fromarray(marked), "TIFF"))
    found = np.asarray(decoded.image, int)[..., 0]
    found[20, 3 : 3 + len(marks)] = GREY[20, 3 : 3 + len(marks)]
    assert np.abs(found - GREY).max() <= 1
    finite = [mark for mark in marks if np.isfinite(mark)]
    assert all(f"{mark:.6g}" in " ".join(decoded.notes) for mark in finite) and len(decoded.notes) == bool(finite)


def test_16_bits_in_16_need_no_word():
    values = np.rint(GREY * 257.0).astype(np.uint16)
    decoded = read_picture(encoded(Image.fromarray(values), "png"))
    assert decoded.notes == () and np.abs(np.asarray(decoded.image, int)[..., 0] - GREY).max() <= 1


def deep_png(values, colour_type):
    def chunk(kind, body):
        checked = kind + body
        return len(body).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    height, width, _ = values.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, colour_type, 0, 0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep_tiff(values, order):
    """An uncompressed TIFF of 16 bits and three samples (TIFF 6.0, section 6); Pillow can't write one."""
    height, width, samples = values.shape
    data = values.astype(f"{order}u2").tobytes()
    number = {"<": "little", ">": "big"}[order]
    tags = {256: width, 257: height, 258: None, 259: 1, 262: 2, 273: None, 277: samples, 278: height, 279: len(data)}
    after = 8 + 2 + 12 * len(tags) + 4
    ifd = len(tags).to_bytes(2, number)
    for tag, value in tags.items():
        short = tag in (258, 259, 262, 277)
        value = {258: after, 273: after + 2 * samples}.get(tag, value)
        size = 2 if short and tag != 258 else 4
        ifd += tag.to_bytes(2, number) + (3 if short else 4).to_bytes(2, number)
        ifd += (samples if tag == 258 else 1).to_bytes(4, number) + value.to_bytes(size, number) + bytes(4 - size)
    start = (b"II*\0" if order == "<" else b"MM\0*") + (8).to_bytes(4, number)
    return start + ifd + bytes(4) + samples * (16).to_bytes(2, number) + data


@pytest.mark.parametrize("kind", ["png", "png with alpha", "tiff <", "tiff >"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_colours_of_fewer_bits_in_16_too(kind, bits):
    colours = photo(48, 40)
    values = np.rint(colours * ((2**bits - 1) / 255)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    if kind == "png with alpha":
        data = deep_png(np.dstack([values, np.full(values.shape[:2], 65535)]), 6)
    else:
        data = deep_png(values, 2) if kind == "png" else deep_tiff(values, kind[-1])
    decoded = read_picture(data)
    assert np.abs(np.asarray(decoded.image, int)[1:] - colours[1:]).max() <= 1
    assert f"{bits} of 16 bits" in decoded.notes[0]


@pytest.mark.parametrize(
    ("low", "high", "noted"),
    [
        (0, 1, False),
        (0, 255, False),
        (0, 0.01, True),
        (0, 9000, True),
        (-1, 1, True),
        (273, 310, True),
        (-40, 85.5, True),
        (0, 65535, False),
        (0, 3e6, True),
    ],
)
def test_floats_of_any_range(low, high, noted):
    shares = np.linspace(0, 1, 1024).reshape(32, 32)
    decoded = read_picture(encoded(Image.fromarray((low + shares * (high - low)).astype(np.float32)), "tiff"))
    assert np.abs(np.asarray(decoded.image, int)[..., 0] - 255 * shares).max() <= 1
    assert bool(decoded.notes) == noted
    if noted:
        assert f"from {low:.4g} to {high:.4g}" in decoded.notes[0]


# ---- ground


def logo(colour, size=(200, 120)):
    image = Image.new("RGBA", size, (*colour, 0))
    image.paste((*colour, 255), (60, 30, 140, 90))
    return image


@pytest.mark.parametrize("format", ["png", "webp", "tiff"])
@pytest.mark.parametrize("colour", [(255, 255, 255), (252, 250, 255)])
def test_a_white_logo_is_laid_over_black_and_that_is_said(format, colour):
    options = {"lossless": True} if format == "webp" else {}
    decoded = read_picture(encoded(logo(colour), format, **options))
    pixels = np.asarray(decoded.image)
    assert pixels[60, 100].min() >= 250 and pixels[5, 5].max() == 0
    assert "shown black" in decoded.notes[0]


@pytest.mark.parametrize("colour", [(0, 0, 0), (200, 30, 30), (230, 200, 120)])
def test_any_other_logo_stays_over_white(colour):
    decoded = read_picture(encoded(logo(colour), "png"))
    assert np.asarray(decoded.image)[5, 5].tolist() == [255, 255, 255] and decoded.notes == ()


def test_nothing_at_all_stays_white():
    assert read_picture(encoded(Image.new("RGBA", (50, 50), (255, 255, 255, 0)), "png")).notes == ()


# ---- files that lack something, animations that begin with nothing


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2, 3, 40, 200])
def test_a_jpeg_without_its_last_bytes_is_shown_with_a_note(lost, progressive):
    noise = np.random.default_rng(1).integers(0, 60, (240, 320, 3))
    pixels = (np.asarray(Image.fromarray(photo()).resize((320, 240)), int) + noise).clip(0, 255).astype(np.uint8)
    data = encoded(Image.fromarray(pixels), "jpeg", quality=90, progressive=progressive)
    whole, cut = read_picture(data), read_picture(data[:-lost])
    above = np.abs(np.asarray(whole.image, int) - np.asarray(cut.image, int))[:200]
    assert above.mean() < (3 if progressive else 1e-9)
    assert whole.notes == () and (lost <= 2 or "lacks its last bytes" in cut.notes[0])


def test_half_a_jpeg_is_refused():
    data = encoded(Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)), "jpeg")
    with pytest.raises(ImageError, match="of its rows are there"):
        read_picture(data[: len(data) // 2])


@pytest.mark.parametrize("format", ["gif", "png", "webp", "avif"])
@pytest.mark.parametrize("colour", ["black", "white", "teal"])
def test_of_an_animation_the_first_frame_that_shows_something(format, colour):
    shown = Image.fromarray(photo())
    frames = [Image.new("RGB", shown.size, colour), Image.new("RGB", shown.size, (3, 4, 200)), shown]
    decoded = read_picture(encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=40))
    assert np.abs(np.asarray(decoded.image, int) - photo()).mean() < 12
    assert "frame 3 is shown" in decoded.notes[0]


@pytest.mark.parametrize("format", ["gif", "png", "webp"])
def test_an_animation_of_nothing_stays_nothing(format):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("black", "red", "blue")]
    decoded = read_picture(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
    assert np.asarray(decoded.image).max() <= 3 and decoded.notes == ()


# ---- pixels that were enlarged


MIXED = mix_pictures(make_pictures(1, seed=3)[0], [Mix(0, 1, "average", 0.6)])[0]


@pytest.mark.parametrize("factor", [2, 3, 5, 8, 10, 16, 33, 40])
def test_enlarged_pixels_are_read_back(factor):
    pixels, notes = load_picture(encode_png(MIXED, scale=factor))
    np.testing.assert_array_equal(pixels, MIXED)
    assert f"{factor} × {factor}" in notes[0]


@pytest.mark.parametrize("format", ["bmp", "tiff", "webp", "gif"])
def test_enlarged_pixels_from_any_lossless_format(format):
    options = {"lossless": True} if format == "webp" else {}
    image = Image.fromarray(MIXED).quantize(200).convert("RGB") if format == "gif" else Image.fromarray(MIXED)
    data = encoded(image.resize((256, 256), Image.Resampling.NEAREST), format, **options)
    np.testing.assert_array_equal(load_image(data), np.asarray(image))


def test_a_picture_that_is_no_square_is_read_back_too():
    small = Image.fromarray(photo(48, 40))
    data = encoded(small.resize((48 * 6, 40 * 6), Image.Resampling.NEAREST), "png")
    np.testing.assert_array_equal(load_image(data), fit_image(small))


def test_photographs_drawings_and_flat_pictures_are_left_alone():
    sample = Image.open(assets_dir() / "samples" / "cat.webp").convert("RGB")
    assert block_size(sample) == 1
    enlarged = np.asarray(Image.fromarray(MIXED).resize((256, 256), Image.Resampling.NEAREST))
    almost = enlarged.copy()
    almost[200, 131] ^= 1  # one pixel of one square differs
    assert block_size(Image.fromarray(almost)) == 1
    assert block_size(Image.fromarray(np.roll(enlarged, 3, axis=1))) == 1
    assert block_size(Image.new("RGB", (256, 256), "teal")) == 1
    assert block_size(Image.fromarray(MIXED)) == 1  # 32 × 32 already
    for format, options in (("jpeg", {"quality": 95}), ("webp", {"quality": 90}), ("png", {})):
        assert not read_picture(encoded(sample, format, **options)).notes


def test_the_first_page_of_a_tiff_that_shows_something():
    black, shown = Image.new("RGB", (96, 64)), Image.fromarray(photo())
    small = Image.fromarray(photo(48, 32))  # of another size: not the picture
    data = encoded(black, "TIFF", save_all=True, append_images=[small, black, shown])
    decoded = read_picture(data)
    assert np.array_equal(np.asarray(decoded.image), photo()) and "page 4 is shown" in decoded.notes[0]
    assert read_picture(encoded(black, "TIFF", save_all=True, append_images=[black])).notes == ()


def test_the_strips_of_every_page_are_counted():
    black, other = Image.new("L", (200, 450)), Image.new("L", (200, 450))
    other.encoderinfo = {}
    data = encoded(black, "TIFF", save_all=True, append_images=[other])
    admit.check_strips(data, "x.tif", pages=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admit, "_MAX_STRIPS", 0)
        with pytest.raises(ImageError, match="cut into 1 strips"):
            admit.check_strips(data, "x.tif")
    # The second page claims 3 million strips.
    entry = data.rindex(b"\x11\x01\x04\x00\x01\x00\x00\x00")
    hostile = data[: entry + 4] + (3_000_000).to_bytes(4, "little") + data[entry + 8 :]
    admit.check_strips(hostile, "x.tif")
    with pytest.raises(ImageError, match="3,000,000 strips"):
        admit.check_strips(hostile, "x.tif", pages=9)
    with pytest.raises(ImageError, match="3,000,000 strips"):
        read_picture(hostile)


@pytest.mark.parametrize(("mode", "bits", "megapixels"), [("RGBA", 8, 45), ("RGB", 10, 37), ("RGBA", 10, 27)])
def test_heic_is_refused_where_it_would_take_too_much_memory(mode, bits, megapixels):
    picture = Image.new(mode, (1, 1))
    picture.info["bit_depth"] = bits
    for size, refused in ((megapixels, False), (megapixels + 1, True)):
        picture._size = (1000, size * 1000)
        try:
            admit.check_header(picture, "HEIC", b"", "x.heic")
        except ImageError as error:
            assert refused and "of memory" in str(error)
        else:
            assert not refused
