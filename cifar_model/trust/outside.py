"""Generated pictures that show nothing."""

import numpy as np
from PIL import Image, ImageDraw

from cifar_model.classes import IMAGE_SIZE


def outside_pictures(n: int, seed: int = 0) -> np.ndarray:
    """Generated pictures that show nothing: plain colours, gradients, noise, textures, checkerboards, stripes, shapes.

    Returns
    -------
    uint8 (n, 32, 32, 3), the same for the same `n` and `seed`
    """
    rng = np.random.default_rng(seed)
    made = [_OUTSIDE[number % len(_OUTSIDE)](rng) for number in range(n)]
    return np.array(made, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE].astype(float)
    return y, x


def _plain(rng):
    return np.broadcast_to(rng.integers(0, 256, 3), (IMAGE_SIZE, IMAGE_SIZE, 3))


def _between(share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two random colours, mixed by `share` (32, 32), 0–1."""
    first, second = rng.uniform(0, 255, (2, 3))
    return (first + share[..., None] * (second - first)).astype(np.uint8)


def _gradient(rng):
    y, x = _grid()
    angle = rng.uniform(0, 2 * np.pi)
    slope = x * np.cos(angle) + y * np.sin(angle)
    return _between((slope - slope.min()) / np.ptp(slope), rng)


def _noise(rng):
    return rng.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3))


def _texture(rng):
    """Noise whose power falls with frequency, as in clouds or stone."""
    y, x = np.meshgrid(np.fft.fftfreq(IMAGE_SIZE), np.fft.fftfreq(IMAGE_SIZE), indexing="ij")
    fall = np.maximum(np.hypot(x, y), 1 / IMAGE_SIZE) ** -rng.uniform(0.5, 2)
    waves = np.fft.ifft2(np.fft.fft2(rng.normal(size=(IMAGE_SIZE, IMAGE_SIZE))) * fall).real
    return _between((waves - waves.min()) / np.ptp(waves), rng)


def _checkerboard(rng):
    y, x = _grid()
    side = rng.integers(1, 9)
    return _between((y // side + x // side) % 2, rng)


def _stripes(rng):
    y, x = _grid()
    angle, length = rng.uniform(0, np.pi), rng.uniform(3, 16)
    return _between(0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / length), rng)


def _draw_shapes(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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


def _random_shapes(rng):
    return _draw_shapes(rng.integers(0, 256, (6, 3)), rng)


_OUTSIDE = (_plain, _gradient, _noise, _texture, _checkerboard, _stripes, _random_shapes)
