"""What is done to training images: mirrored, shifted, cut out, scaled down, blended. Arrays in, arrays out."""

import numpy as np


def augment_batch(
    images: np.ndarray, rng: np.random.Generator, *, mirrored: np.ndarray, shift: int, cutout: int
) -> np.ndarray:
    """Mirror, shift and cut out, each picture by its own draw.

    Parameters
    ----------
    images : uint8 (n, s, s, 3)
    mirrored : bool (n,), which pictures to mirror
    shift : pixels; each picture moves by -shift to +shift along both axes, its border reflected
    cutout : pixels; side of a square, anywhere in the picture, that is painted mid-grey; 0 for none

    Returns
    -------
    uint8 (n, s, s, 3), a new array
    """
    n, size = images.shape[:2]
    rows, columns = places(size, *rng.integers(-shift, shift + 1, (2, n)), mirrored)
    result = images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    if cutout:
        side = np.arange(size)
        top, left = rng.integers(0, size - cutout + 1, (2, n, 1))
        in_rows = (side >= top) & (side < top + cutout)
        in_columns = (side >= left) & (side < left + cutout)
        result[in_rows[:, :, None] & in_columns[:, None, :]] = 128
    return result


def places(size: int, down: np.ndarray, right: np.ndarray, mirrored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From which rows and columns shifted and mirrored pictures are gathered, both int (n, size).

    down, right : int (n,), by how many pixels each is shifted; its border is reflected. mirrored : bool (n,)
    """
    side, last = np.arange(size), size - 1
    rows, columns = (last - np.abs(last - np.abs(side + by[:, None])) for by in (down, right))
    return rows, np.where(mirrored[:, None], columns[:, ::-1], columns)


def shrink(images: np.ndarray, size: int) -> np.ndarray:
    """Area-average uint8 (n, 32, 32, 3) down to (n, size, size, 3), rounded."""
    full = images.shape[1]
    if size == full:
        return images
    edges = np.arange(size + 1) * full / size
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(full)
    # weights[i, j]: share of output pixel i that input pixel j covers
    weights = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None) * size / full
    weights = weights.astype(np.float32)
    result = np.empty((len(images), size, size, 3), np.uint8)
    for start in range(0, len(images), 1000):
        part = images[start : start + 1000].astype(np.float32)
        part = np.einsum("ih,jw,nhwc->nijc", weights, weights, part, optimize=True)
        result[start : start + 1000] = np.rint(part)
    return result


def blend_batch(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, *, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mixup (Zhang et al. 2018): blend each picture with the one at the other end of the batch.

    Parameters
    ----------
    images : uint8 (n, s, s, 3)
    targets : float32 (n, 10)
    alpha : above 0; each ratio is drawn from Beta(alpha, alpha)

    Returns
    -------
    uint8 (n, s, s, 3), rounded as a mixed picture that a person brings is, and float32 (n, 10)
    """
    share = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    pixels = share[:, None, None, None]
    blended = np.rint(pixels * images + (1 - pixels) * images[::-1]).astype(np.uint8)
    return blended, share[:, None] * targets + (1 - share[:, None]) * targets[::-1]
