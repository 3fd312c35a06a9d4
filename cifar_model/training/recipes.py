"""What each recipe adds to the settings, and how it lets rate and picture size go over the steps."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """What a recipe adds to the settings that a person sees.

    schedule
        ``constant``, ``cosine`` or ``linear``: the shape in which the learning rate falls to 0.
    warmup
        Share of all steps over which the learning rate rises from 0.
    label_smoothing
        Share of each target spread evenly over the ten classes (Szegedy et al. 2016).
    shift, cutout
        Pixels: largest random translation; side of the square painted grey (DeVries & Taylor 2017).
    resolutions
        ``((until, size), …)``: picture side until that share of the steps (progressive resizing).
    exposure_from, exposure_share
        With outlier exposure: share of the steps after which pictures of other things come in, and how many of them
        for each training image of a step.
    mixup_share
        With mixup: share of each batch that is blended. Nothing is cut out then, and no target smoothed.
    passes
        How often an epoch goes through the training images, each time augmented anew.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    augment: bool
    schedule: str = "cosine"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    shift: int = 2
    cutout: int = 0
    resolutions: tuple[tuple[float, int], ...] = ((1.0, 32),)
    exposure_from: float = 0.5
    exposure_share: float = 0.5
    mixup_share: float = 0.8
    passes: int = 1


_PLAIN = {
    "seed": Recipe(15, 32, 1e-3, "adam", augment=False, schedule="constant"),
    "quick": Recipe(6, 128, 0.03, "muon", augment=True, warmup=0.05, shift=1),
    "full": Recipe(60, 128, 0.03, "muon", augment=True, warmup=0.05),
}
RECIPE_TABLE = {
    "seed-cnn": _PLAIN,
    "custom": _PLAIN,
    "lab-net": {
        "seed": Recipe(15, 32, 1e-3, "adam", augment=False, schedule="constant"),
        "quick": Recipe(
            4,
            125,
            0.12,
            "muon",
            augment=True,
            schedule="linear",
            label_smoothing=0.2,
            resolutions=((0.3, 16), (0.8, 24), (1.0, 32)),
        ),
        "full": Recipe(
            45,
            500,
            0.12,
            "muon",
            augment=True,
            schedule="linear",
            label_smoothing=0.1,
            shift=3,
            cutout=12,
            resolutions=((0.5, 24), (1.0, 32)),
            exposure_from=0.6,
        ),
    },
}

# For the thousand distilled images, where one pass takes a blink: an epoch here is several.
_PLAIN_MINI = {
    "seed": Recipe(15, 32, 1e-3, "adam", augment=False, schedule="constant", passes=5),
    "quick": Recipe(20, 125, 3e-3, "adam", augment=True, shift=3, passes=5),
    "full": Recipe(60, 125, 3e-3, "adam", augment=True, shift=3, passes=5),
}
MINI_RECIPE_TABLE = {
    "seed-cnn": _PLAIN_MINI,
    "custom": _PLAIN_MINI,
    "lab-net": {
        "seed": Recipe(15, 32, 1e-3, "adam", augment=False, schedule="constant", passes=2),
        "quick": replace(RECIPE_TABLE["lab-net"]["quick"], epochs=10, passes=2),
        "full": replace(RECIPE_TABLE["lab-net"]["full"], batch_size=125, passes=2),
    },
}


def schedule_factor(recipe: Recipe, progress: float) -> float:
    """Share of the peak learning rate at `progress` (0 at the first step, 1 after the last)."""
    if progress < recipe.warmup:
        return progress / recipe.warmup if recipe.warmup else 1.0
    rest = (progress - recipe.warmup) / (1 - recipe.warmup)
    if recipe.schedule == "constant":
        return 1.0
    if recipe.schedule == "linear":
        return 1.0 - rest
    return 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))


def resolution_at(recipe: Recipe, progress: float) -> int:
    """Side in pixels of the training images at `progress` (0 to 1)."""
    return next((size for until, size in recipe.resolutions if progress < until), recipe.resolutions[-1][1])
