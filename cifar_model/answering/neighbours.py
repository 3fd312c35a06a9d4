"""The training images nearest to a picture, in a network's features."""

import hashlib
import logging
import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.data.cache import cache_entry, cache_root, load_cifar10
from cifar_model.data.find import find_source
from cifar_model.data.sources import Split
from cifar_model.errors import LabError, SettingsError
from cifar_model.models.layout import MODEL_FILE
from cifar_model.storage import replacing

if TYPE_CHECKING:
    from cifar_model.answering.classifier import Classifier


log = logging.getLogger(__name__)


def nearest(features: np.ndarray, bank: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `bank` that point most nearly the way each feature vector does.

    Parameters
    ----------
    features : float (n, d)
    bank : float (m, d), rows of length 1 or 0

    Returns
    -------
    indices : int64 (n, k), nearest first
    distances : float32 (n, k), cosine distance 0–2; 0 = the same direction

    Raises
    ------
    SettingsError
        k outside 1–m.
    """
    if not 1 <= k <= len(bank):
        raise SettingsError(f"k is 1 to {len(bank):,}. Received: {k}.")
    unit = _unit(features)
    likeness = np.empty((len(unit), len(bank)), np.float32)
    for start in range(0, len(bank), 8192):  # the bank is float16 on disk; a part at a time is widened
        part = slice(start, start + 8192)
        likeness[:, part] = unit @ bank[part].astype(np.float32).T
    best = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
    found = np.take_along_axis(likeness, best, axis=1)
    order = np.lexsort((best, -found), axis=1)
    indices = np.take_along_axis(best, order, axis=1)
    distances = np.clip(1 - np.take_along_axis(found, order, axis=1), 0, 2)
    return indices.astype(np.int64), distances.astype(np.float32)


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


class Neighbours:
    """The training images nearest to a picture in a network's features (`Classifier.features`).

    The features of all training images are computed once for a model's weights and a data set, and kept as
    float16 .npy under `cache.cache_root()`.

    Parameters
    ----------
    classifier : whose features
    data_dir : as for `cache.load_cifar10`

    Attributes
    ----------
    images : uint8 (m, 32, 32, 3), the training images, read-only; labels : int64 (m,)

    Raises
    ------
    DatasetError
        CIFAR-10 is not at hand, or can't be read.
    """

    def __init__(self, classifier: "Classifier", data_dir: str | os.PathLike | None = None):
        self._classifier, self._data_dir = classifier, data_dir
        self._bank: np.ndarray | None = None
        path = classifier.path
        weights = (path / MODEL_FILE if path.is_dir() else path).read_bytes()
        data = cache_entry(find_source(data_dir)).name
        key = hashlib.sha256(f"1 {hashlib.sha256(weights).hexdigest()} {data}".encode()).hexdigest()
        self._file = cache_root() / "features" / f"{key}.npy"

    @cached_property
    def _training(self) -> Split:
        return load_cifar10(self._data_dir)[0]

    @property
    def images(self) -> np.ndarray:
        return self._training[0]

    @property
    def labels(self) -> np.ndarray:
        return self._training[1]

    def is_ready(self) -> bool:
        """Whether the features are at hand, so that `nearest` answers at once: a look at one file."""
        return self._bank is not None or self._file.is_file()

    def prepare(self, *, batch_size: int = 250) -> Iterator[int]:
        """Compute the features, unless they are at hand; gives the number of pictures done after each batch.

        Nothing is kept of a computation that is left before its end.
        """
        m = len(self.images)
        if self._open() is not None:
            yield m
            return
        bank = None
        for start in range(0, m, batch_size):
            part = slice(start, start + batch_size)
            features = _unit(self._classifier.features(np.asarray(self.images[part]))).astype(np.float16)
            if bank is None:
                bank = np.empty((m, features.shape[1]), np.float16)
            bank[part] = features
            if start + batch_size >= m:
                self._keep(bank)
            yield min(start + batch_size, m)

    def nearest(self, images: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """The training images nearest to each of `images`, uint8 (n, 32, 32, 3), by cosine distance.

        Computes what `prepare` does first where that has not been done. Returns indices int64 (n, k) into the
        attributes images and labels, nearest first, and distances float32 (n, k), 0–2. A picture that was trained
        on finds itself, at distance 0.
        """
        if self._open() is None:
            for _ in self.prepare():
                pass
        assert self._bank is not None
        return nearest(self._classifier.features(images), self._bank, k)

    def _open(self) -> np.ndarray | None:
        if self._bank is None:
            try:
                bank = np.load(self._file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):  # absent, or broken: computed again
                return None
            if bank.dtype == np.float16 and bank.ndim == 2 and len(bank) == len(self.images):
                self._bank = bank
        return self._bank

    def _keep(self, bank: np.ndarray) -> None:
        self._bank = bank
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._file) as temporary:
                np.save(temporary, bank, allow_pickle=False)
        except (OSError, LabError) as error:
            advice = "set CIFAR_LAB_CACHE to a folder that can be written."
            log.warning("Features of the training images can't be kept (%s): %s", error, advice)
