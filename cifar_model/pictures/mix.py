"""Mixes of two pictures at a ratio."""

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ImageError, SettingsError
from cifar_model.pictures.dct import dct

# The ways to mix, each explained in one line. `ratio` is always the share of the first picture.
MODES: dict[str, str] = {
    "average": "Each pixel's value is the weighted mean of the two, like two slides laid over each other.",
    "linear": "The weighted mean of the light itself, as from two projectors: overlaps come out brighter.",
    "halves": "Cut upright: the left part, as wide as its share, is the first picture, the rest the other.",
    "checkerboard": "A board of 4×4-pixel cells: as many as its share show the first picture, evenly spread.",
    "frequencies": "The first picture's coarse shapes with the second's fine detail: the larger "
    "the share, the finer the detail that is the first's.",
}

# The ways in which a share of `a` and the rest of `b` are the same mix as that rest of `b` and the share of `a`.
SYMMETRIC = ("average", "linear")

_CELL = 4  # pixels a side of a checkerboard cell: 8×8 cells on a 32×32 picture


def blend(a: np.ndarray, b: np.ndarray, ratio: float, *, mode: str = "average") -> np.ndarray:
    """Mix two pictures.

    Parameters
    ----------
    a, b : uint8 arrays (32, 32, 3), RGB, 0–255
    ratio : share of `a`, 0 to 1: 0.4 is 40 % of `a` and 60 % of `b`; at 1 the mix is exactly `a`, at 0 `b`
    mode : a key of `MODES`

    Returns
    -------
    uint8 array (32, 32, 3)

    Raises
    ------
    SettingsError
        A ratio that is not a number from 0 to 1, or an unknown mode.
    ImageError
        A picture of another shape or type.
    """
    return _blend(a, b, np.array([checked_ratio(ratio)]), mode)[0]


def sweep(a: np.ndarray, b: np.ndarray, *, mode: str = "average", steps: int = 101) -> np.ndarray:
    """All mixes from none of `a` to all of it: frame i is `blend(a, b, i / (steps - 1))`.

    Returns
    -------
    uint8 array (steps, 32, 32, 3); the first frame is `b`, the last `a`

    Raises
    ------
    SettingsError
        Fewer than 2 or more than 10,001 steps; otherwise as `blend`.
    """
    if not isinstance(steps, (int, np.integer)) or not 2 <= steps <= 10_001:
        raise SettingsError(f"A sweep takes 2 to 10,001 steps. Received: steps={steps!r}.")
    return _blend(a, b, np.arange(steps) / (steps - 1), mode)


def checked_ratio(ratio: float) -> float:
    try:
        number = float(ratio)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= 1:
        meant = f" Did you mean {number / 100:g}?" if 1 < number <= 100 else ""
        raise SettingsError(f"The ratio, the first picture's share, goes from 0 to 1. Received: {ratio!r}.{meant}")
    return number


def _check_picture(name: str, picture: np.ndarray) -> None:
    shape, dtype = getattr(picture, "shape", None), getattr(picture, "dtype", None)
    if shape != (IMAGE_SIZE, IMAGE_SIZE, 3) or dtype != np.uint8:
        raise ImageError(
            f"Picture {name} to be mixed must be a uint8 array of shape (32, 32, 3). Received: "
            f"{type(picture).__name__}, shape {shape}, type {dtype}. "
            "Read it with cifar_model.load_image."
        )


def _blend(a: np.ndarray, b: np.ndarray, ratios: np.ndarray, mode: str) -> np.ndarray:
    """Mixes at `ratios` (n,) → uint8 (n, 32, 32, 3)."""
    if mode not in MODES:
        raise SettingsError(f"There is no way to mix called {mode!r}. Choose one of: {', '.join(MODES)}.")
    _check_picture("a", a)
    _check_picture("b", b)
    return _MIXERS[mode](a, b, ratios[:, None, None, None])


def _round(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _weighted(a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    # 1 - 0.4 and 0.6 differ in the last bit; twelve digits make them one, so that a mix is the same from both sides.
    return np.round(ratio, 12) * a + np.round(1 - ratio, 12) * b


def _average(a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    return _round(_weighted(a, b, ratio))


def _srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Stored sRGB values, 0 to 1 → light, 0 to 1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """Light, 0 to 1 → stored sRGB values, 0 to 1 (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _linear(a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    light = _weighted(_srgb_to_linear(a / 255), _srgb_to_linear(b / 255), ratio)
    return _round(_linear_to_srgb(light) * 255)


def _halves(a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    column = np.arange(IMAGE_SIZE)[:, None]
    return np.where(column < np.rint(ratio * IMAGE_SIZE), a, b)


def _bayer(size: int) -> np.ndarray:
    """Bayer's index matrix (1973): 0 … size²-1, each prefix spread evenly; size is a power of two."""
    if size == 1:
        return np.zeros((1, 1), int)
    quarter = 4 * _bayer(size // 2)
    return np.block([[quarter, quarter + 2], [quarter + 3, quarter + 1]])


def _checkerboard(a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    # Cells turn to `a` in a fixed order, so a larger share keeps all that a smaller one showed.
    order = np.kron(_bayer(IMAGE_SIZE // _CELL), np.ones((_CELL, _CELL), int))[:, :, None]
    return np.where(order < np.rint(ratio * (IMAGE_SIZE // _CELL) ** 2), a, b)


def _frequencies(a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Hybrid images (Oliva, Torralba & Schyns 2006): Gaussian low pass of `a` plus the complement from `b`.

    The ratio moves the cut-off (where the gain is ½) along the whole frequency axis: ratio / (1 - ratio) · 4
    cycles a picture, so 0 at ratio 0, 4 at ½, infinite at 1. The filter works on the cosine transform
    (DCT-II), whose mirrored continuation keeps the borders clean.
    """
    k = np.arange(IMAGE_SIZE)  # row k of the spectrum is k / 2 cycles a picture
    # A quarter of a cycle is added in quadrature, so that the mean colour fades in too instead of jumping.
    squared = (k[:, None] ** 2 + k**2 + 0.25)[:, :, None] / 4
    with np.errstate(divide="ignore", over="ignore"):
        cutoff = 4 * ratio / (1 - ratio)
        gain = np.exp(-np.log(2) * squared / cutoff**2)
    return _round(b + dct(gain * dct(a.astype(float) - b), back=True))


_MIXERS = {
    "average": _average,
    "linear": _linear,
    "halves": _halves,
    "checkerboard": _checkerboard,
    "frequencies": _frequencies,
}
