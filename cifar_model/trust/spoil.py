"""Training pictures varied, and spoilt so that none of the ten classes is left to see whole."""

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from cifar_model.classes import IMAGE_SIZE

SPOILT_IMAGES = 4_000


def vary(images: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Every second picture resampled, sharpened or softened, with other contrast, brightness and colours.

    Photographs that a person brings differ from CIFAR-10's in just these, and shall not be flagged for it.

    Parameters
    ----------
    images : uint8 (n, 32, 32, 3)

    Returns
    -------
    uint8 (n, 32, 32, 3), the same for the same `images` and `seed`
    """
    rng = np.random.default_rng(seed)
    varied = np.array(images, np.uint8)
    for number in range(1, len(varied), 2):
        varied[number] = _varied(varied[number], rng)
    return varied


def _varied(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    edge = 2
    wide = np.pad(picture, ((edge, edge), (edge, edge), (0, 0)), mode="edge" if rng.random() < 0.5 else "reflect")
    side = rng.uniform(24, IMAGE_SIZE + 2 * edge)
    left, top = rng.uniform(0, IMAGE_SIZE + 2 * edge - side, 2)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    box = (left, top, left + side, top + side)
    image = Image.fromarray(wide).resize((IMAGE_SIZE, IMAGE_SIZE), filters[rng.integers(3)], box=box)
    image = ImageEnhance.Sharpness(image).enhance(rng.uniform(0.5, 2))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.3))
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.75, 1.3))
    return np.asarray(ImageEnhance.Color(image).enhance(rng.uniform(0.5, 1.4)))


def spoil(images: np.ndarray, n: int = SPOILT_IMAGES, *, seed: int = 0) -> np.ndarray:
    """Pictures made from pictures of the ten classes so that none of the ten is left to see whole.

    In turns: a corner, a part or a border strip enlarged; 2×2, 4×4 or 8×8 parts shuffled; four corners of
    four pictures; the spectrum with other phases; a mirrored tile; shapes in its colours; drowned in noise.

    Parameters
    ----------
    images : uint8 (k, 32, 32, 3), k ≥ 1
    n : how many to make

    Returns
    -------
    uint8 (n, 32, 32, 3), the same for the same `images`, `n` and `seed`
    """
    rng = np.random.default_rng(seed)
    made = [_SPOILERS[number % len(_SPOILERS)](images, rng) for number in range(n)]
    return np.array(made, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)


def _one(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(images[rng.integers(len(images))])


def _enlarged(picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, box=box))


def _corner(images, rng):
    side = rng.uniform(9, 15)
    left, top = (IMAGE_SIZE - side) * rng.integers(0, 2, 2)
    return _enlarged(_one(images, rng), (left, top, left + side, top + side))


def _part(images, rng):
    side = rng.uniform(7, 14)
    left, top = rng.uniform(0, IMAGE_SIZE - side, 2)
    return _enlarged(_one(images, rng), (left, top, left + side, top + side))


def _strip(images, rng):
    width, far = rng.uniform(5, 8), IMAGE_SIZE
    boxes = ((0, 0, far, width), (0, far - width, far, far), (0, 0, width, far), (far - width, 0, far, far))
    return _enlarged(_one(images, rng), boxes[rng.integers(4)])


def _shuffled(cells):
    def shuffle(images, rng):
        side = IMAGE_SIZE // cells
        parts = _one(images, rng).reshape(cells, side, cells, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        parts = parts[rng.permutation(cells * cells)].reshape(cells, cells, side, side, 3)
        return parts.swapaxes(1, 2).reshape(IMAGE_SIZE, IMAGE_SIZE, 3)

    return shuffle


def _pieced(images, rng):
    half = IMAGE_SIZE // 2
    corners = [(slice(0, half),) * 2, (slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))]
    corners.append((slice(half, None),) * 2)
    a, b, c, d = (_one(images, rng)[corners[number]] for number in rng.permutation(4))
    return np.vstack([np.hstack([a, b]), np.hstack([c, d])])


def _rephased(images, rng):
    spectrum = np.fft.fft2(_one(images, rng).astype(float), axes=(0, 1))
    phase = np.angle(np.fft.fft2(rng.normal(size=(IMAGE_SIZE, IMAGE_SIZE))))[..., None]
    # The channels keep their phases relative to one another, so colours stay those of photographs.
    moved = np.abs(spectrum) * np.exp(1j * (phase + np.angle(spectrum) - np.angle(spectrum[..., :1])))
    moved[0, 0] = spectrum[0, 0]
    return np.clip(np.fft.ifft2(moved, axes=(0, 1)).real, 0, 255).astype(np.uint8)


def _tiled(images, rng):
    half = IMAGE_SIZE // 2
    left, top = half * rng.integers(0, 2, 2)
    tile = _one(images, rng)[top : top + half, left : left + half]
    row = np.hstack([tile, tile[:, ::-1]])
    return np.roll(np.vstack([row, row[::-1]]), tuple(rng.integers(0, IMAGE_SIZE, 2)), (0, 1))


def _shapes(images, rng):
    return draw_shapes(_one(images, rng).reshape(-1, 3), rng)


def _drowned(images, rng):
    noise = rng.uniform(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3))
    return (noise + rng.uniform(0, 0.4) * (_one(images, rng) - noise)).astype(np.uint8)


def draw_shapes(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Discs, boxes, polygons or lines over one another ("dead leaves"), drawn large and scaled down."""
    side = 4 * IMAGE_SIZE

    def colour():
        return tuple(int(value) for value in colours[rng.integers(len(colours))])

    canvas = Image.new("RGB", (side, side), colour())
    draw, kind = ImageDraw.Draw(canvas), rng.integers(4)
    for _ in range(int(rng.integers(3, 60))):
        radius = min(side * 0.6, 6 / max(0.05, rng.random()))
        x, y = rng.uniform(0, side, 2)
        if kind == 0:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour())
        elif kind == 1:
            draw.rectangle((x - radius, y - radius * rng.uniform(0.2, 1), x + radius, y + radius), fill=colour())
        elif kind == 2:
            corners = rng.normal((x, y), radius, (int(rng.integers(3, 7)), 2))
            draw.polygon([tuple(corner) for corner in corners], fill=colour())
        else:
            draw.line([(x, y), tuple(rng.uniform(0, side, 2))], fill=colour(), width=int(rng.integers(2, 14)))
    return np.asarray(canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS))


_SPOILERS = (
    _corner, _part, _shuffled(2), _shuffled(4), _shuffled(8), _pieced, _rephased, _strip, _tiled, _shapes, _drowned,
)  # fmt: skip
