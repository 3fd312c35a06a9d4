"""What a run learns from, what it holds out, and what it is scored on."""

from dataclasses import dataclass

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.data.distilled import read_mini
from cifar_model.data.find import find_source
from cifar_model.data.outliers import NONE, Outliers, load_outliers
from cifar_model.data.sources import MINI, Source
from cifar_model.data.split import fingerprints, split_by_content
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir
from cifar_model.training.settings import Settings

Pictures = tuple[np.ndarray, np.ndarray]  # images uint8 (n, 32, 32, 3), labels int64 (n,)


@dataclass(frozen=True)
class TrainingData:
    """The images of one run.

    train : to learn from
    selection : held out; chooses the epoch that is kept
    untouched : held out; takes part in no choice. None with the distilled images
    test : None with the distilled images
    boundary : largest fingerprint of a held-out image (`split_by_content`); None with the distilled images
    shown : eight test images, or the ten sample photographs, whose guesses are recorded as the run goes
    outliers : images of other things, where the settings name some
    """

    source: Source
    train: Pictures
    selection: Pictures
    untouched: Pictures | None
    test: Pictures | None
    boundary: int | None
    shown: Pictures
    outliers: Outliers | None

    @property
    def held_out(self) -> int:
        """How many images are held out."""
        return len(self.selection[0]) + (len(self.untouched[0]) if self.untouched else 0)


def load_data(settings: Settings) -> TrainingData:
    """Find, read and split the images that `settings` name; DatasetError where there are none."""
    # The distilled images only where the settings say so: a resumed run never changes its data unseen.
    source = find_source(settings.data, mini=settings.data == MINI)
    parts = _distilled(settings) if source.kind == MINI else _cifar10(settings)
    outliers = None
    if settings.outliers != NONE:
        known = [parts["train"][0]] + ([parts["selection"][0], parts["test"][0]] if parts["test"] else [])
        outliers = load_outliers(settings.outliers, np.concatenate(known))
    return TrainingData(source=source, outliers=outliers, **parts)


def _cifar10(settings: Settings) -> dict:
    (images, labels), test = load_cifar10(settings.data)
    split = split_by_content(images, settings.validation, settings.fraction)
    # The first test image of each of the first eight classes: fixed, so that runs compare.
    shown = [int(np.flatnonzero(test[1] == label)[0]) for label in np.unique(test[1])[:8]]
    return {
        "train": (images[split.train], labels[split.train]),
        "selection": (images[split.selection], labels[split.selection]),
        "untouched": (images[split.untouched], labels[split.untouched]),
        "test": test,
        "boundary": split.boundary,
        "shown": (np.asarray(test[0][shown]), test[1][shown]),
    }


def _distilled(settings: Settings) -> dict:
    """The distilled images, which have no test part; shown are the ten sample photographs, for those are real."""
    (images, labels), selection = read_mini()
    order = np.argsort(fingerprints(images), kind="stable")
    kept = order[: max(1, round(len(images) * settings.fraction))]
    samples = [load_image(assets_dir() / "samples" / f"{name}.webp") for name in CLASS_NAMES]
    return {
        "train": (images[kept], labels[kept]),
        "selection": selection,
        "untouched": None,
        "test": None,
        "boundary": None,
        "shown": (np.stack(samples), np.arange(len(samples))),
    }
