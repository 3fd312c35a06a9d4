"""How near distilled images come to photographs: a check that none is a copy."""

from collections.abc import Callable

import numpy as np

from cifar_model.distilling.make import Report


def nearest_pictures(
    pictures: np.ndarray,
    bank: np.ndarray,
    *,
    shift: int = 3,
    candidates: int = 20,
    exclude: np.ndarray | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest picture of `bank` to each of `pictures`, after the best alignment of shift, mirror and colour.

    A picture's centre, `shift` pixels from the border, is held against every equally large part of each bank picture
    and of its mirror image. Each part first loses the mean of every channel (brightness, colour cast), then its
    standard deviation (contrast). The bank is searched at half resolution, by every other shift; the `candidates`
    best of that are compared exactly.

    Parameters
    ----------
    pictures : uint8 (n, 32, 32, 3)
    bank : uint8 (m, 32, 32, 3)
    shift : largest translation along both axes, pixels
    exclude : int (n,), a bank picture that doesn't count, for each picture (itself); None for none
    report : called with the bank pictures searched so far, and all

    Returns
    -------
    index : int64 (n,)
    distance : float32 (n,)
        Root mean square difference of the aligned parts, 0 (equal) to 2; two unrelated parts have √2.
    """
    candidates = min(candidates, len(bank) - (exclude is not None))
    halves = _aligned_parts(_halve(pictures), shift // 2, centre=True)[:, 0]
    likeness = np.full((len(pictures), len(bank)), -2, np.float32)
    for start in range(0, len(bank), 2000):
        parts = _aligned_parts(_halve(bank[start : start + 2000]), shift // 2)
        for place in range(parts.shape[1]):
            found = likeness[:, start : start + 2000]
            np.maximum(found, halves @ parts[:, place].T, out=found)
        report(min(start + 2000, len(bank)), len(bank))
    if exclude is not None:
        likeness[np.arange(len(pictures)), exclude] = -3
    best = np.argpartition(-likeness, candidates - 1, axis=1)[:, :candidates]
    centres = _aligned_parts(pictures, shift, centre=True)[:, 0]
    index, distance = np.empty(len(pictures), np.int64), np.empty(len(pictures), np.float32)
    for number, (centre, near) in enumerate(zip(centres, best, strict=True)):
        exact = (_aligned_parts(bank[near], shift) @ centre).max(axis=1)
        index[number] = near[exact.argmax()]
        distance[number] = np.sqrt(max(0.0, 2 - 2 * exact.max()))
    return index, distance


def _halve(pictures: np.ndarray) -> np.ndarray:
    n, side = pictures.shape[:2]
    return pictures.reshape(n, side // 2, 2, side // 2, 2, 3).mean(axis=(2, 4), dtype=np.float32)


def _aligned_parts(pictures: np.ndarray, shift: int, *, centre: bool = False) -> np.ndarray:
    """float32 (n, places, d): every part at every place, or the centre alone, as vectors of length 1."""
    n, size = pictures.shape[0], pictures.shape[1] - 2 * shift
    if centre:
        parts = pictures[:, None, shift : shift + size, shift : shift + size]
    else:
        both = np.concatenate([pictures[:, None], pictures[:, None, :, ::-1]], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(both, (size, size), axis=(2, 3))
        parts = windows.transpose(0, 1, 2, 3, 5, 6, 4).reshape(n, -1, size, size, 3)  # (n, 2, k, k, 3, …) before
    parts = parts.astype(np.float32)
    parts -= parts.mean(axis=(2, 3), keepdims=True)
    parts = parts.reshape(n, parts.shape[1], -1)
    return parts / np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), 1e-3)


def copy_check(pictures: np.ndarray, bank: np.ndarray, *, report: Report = lambda kind, record: None) -> dict:
    """How far `pictures` are from their nearest photograph in `bank`, and that one from its own nearest.

    Returns
    -------
    dict
        ``to_nearest`` and ``nearest_to_its_nearest``: {"median", "least"} of the distances of `nearest_pictures`;
        ``farther``: share of the pictures that are farther from their nearest photograph than that is from its own.
    """

    def progress(stage):
        return lambda done, total: report("progress", {"stage": stage, "done": done, "total": total, "text": ""})

    index, ours = nearest_pictures(pictures, bank, report=progress("nearest photographs"))
    _, theirs = nearest_pictures(bank[index], bank, exclude=index, report=progress("nearest of the nearest"))

    def summary(distances):
        return {"median": round(float(np.median(distances)), 4), "least": round(float(distances.min()), 4)}

    return {
        "to_nearest": summary(ours),
        "nearest_to_its_nearest": summary(theirs),
        "farther": round(float((ours > theirs).mean()), 4),
        "photographs": len(bank),
        "measure": "root mean square difference of the central 26×26 pixels after the best shift (±3 pixels), mirror, "
        "brightness, colour cast and contrast; 0 = equal, 1.41 = unrelated",
    }
