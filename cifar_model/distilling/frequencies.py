"""Pictures as cosine frequencies of brightness and two opponent colours."""

import numpy as np

from cifar_model.classes import IMAGE_SIZE


def frequencies(pictures: np.ndarray, *, back: bool = False) -> np.ndarray:
    """(…, 32, 32, 3) as cosine frequencies (orthonormal DCT-II) of brightness and two opponent colours; or back."""
    basis, colours = (_COSINES.T, _COLOURS.T) if back else (_COSINES, _COLOURS)
    rows = np.einsum("uh,...hwc->...uwc", basis, pictures @ colours.T, optimize=True)
    return np.einsum("vw,...uwc->...uvc", basis, rows, optimize=True)


def _cosines(size: int) -> np.ndarray:
    k, x = np.mgrid[:size, :size]
    return (np.sqrt((1 + (k > 0)) / size) * np.cos(np.pi * k * (2 * x + 1) / (2 * size))).astype(np.float32)


_COSINES = _cosines(IMAGE_SIZE)

# Red, green and blue go together in photographs; brightness, red against blue and green against both hardly do.
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
_COLOURS /= np.linalg.norm(_COLOURS, axis=1, keepdims=True)
