"""Which training images a run learns from, and which it holds out."""

import hashlib
from dataclasses import dataclass

import numpy as np

FINGERPRINT_BYTES = 8

# Changing the key would change every split: networks that were trained before could no longer be compared.
_KEY = b"cifar-lab held-out part, version 1"

# Of the held-out images this share chooses the epoch and fits the calibration; the others stay untouched until then.
SELECTION_SHARE = 0.25


def fingerprints(images: np.ndarray) -> np.ndarray:
    """Name pictures by their content.

    Parameters
    ----------
    images : uint8 (n, height, width, 3)

    Returns
    -------
    uint64 (n,)
        Keyed BLAKE2b of the pixels (RFC 7693), 8 bytes: equal pictures have equal ones, and among 60,000 different
        ones the chance that any two agree is 1 in 10 billion.
    """
    digests = b"".join(
        hashlib.blake2b(np.ascontiguousarray(image), digest_size=FINGERPRINT_BYTES, key=_KEY).digest()
        for image in np.asarray(images, np.uint8)
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)


@dataclass(frozen=True)
class Split:
    """Indexes into the training images, int64, disjoint, each in the order of the pictures' fingerprints.

    train : to learn from
    selection : held out; chooses the epoch that is kept and fits the calibration
    untouched : held out; sets the thresholds of answer sets and scope, and takes part in no choice before that
    boundary : largest fingerprint of a held-out image: no image up to it was trained on
    """

    train: np.ndarray
    selection: np.ndarray
    untouched: np.ndarray
    boundary: int

    @property
    def held_out(self) -> np.ndarray:
        """All that was held out."""
        return np.concatenate([self.selection, self.untouched])


def split_by_content(images: np.ndarray, validation: float, fraction: float = 1.0) -> Split:
    """Split training images into those to learn from and those to hold out.

    Parameters
    ----------
    images : uint8 (n, 32, 32, 3), n ≥ 3
    validation : 0 to 1, share to hold out; the held-out images of a smaller share are among those of a larger one
    fraction : 0 to 1, share of the others to learn from

    Raises
    ------
    ValueError
        Fewer than three images.
    """
    n = len(images)
    if n < 3:
        raise ValueError(f"A split needs at least three images. Received: {n}.")
    names = fingerprints(images)
    held_out = min(max(2, round(n * validation)), n - 1)
    return _split(names, int(np.partition(names, held_out - 1)[held_out - 1]), fraction)


def split_at(images: np.ndarray, boundary: int) -> Split:
    """The split of a training that held out every image up to a fingerprint, as its card tells.

    Parameters
    ----------
    images : uint8 (n, 32, 32, 3), n ≥ 0, of any copy, part or order of CIFAR-10
    boundary : `Split.boundary` of that training
    """
    return _split(fingerprints(images), boundary, 1.0)


def _split(names: np.ndarray, boundary: int, fraction: float) -> Split:
    order = np.argsort(names, kind="stable")
    held_out = int((names <= boundary).sum())
    rest, every = order[held_out:], round(1 / SELECTION_SHARE)
    return Split(
        train=rest[: max(1, round(len(rest) * fraction))],
        # Every fourth, so that this part too of a smaller share lies inside that of a larger one.
        selection=order[:held_out:every],
        untouched=order[:held_out][np.arange(held_out) % every != 0],
        boundary=boundary,
    )
