"""Pictures as cosine frequencies of brightness and two opponent colours."""

import numpy as np

from cifar_model.pictures.dct import dct


def frequencies(pictures: np.ndarray, *, back: bool = False) -> np.ndarray:
    """(…, 32, 32, 3) as cosine frequencies (orthonormal DCT-II) of brightness and two opponent colours; or back."""
    return dct(pictures @ (_COLOURS if back else _COLOURS.T), back=back)


# Red, green and blue go together in photographs; brightness, red against blue and green against both hardly do.
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
_COLOURS /= np.linalg.norm(_COLOURS, axis=1, keepdims=True)
