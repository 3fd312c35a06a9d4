"""Named training settings: what can be chosen, its limits, the command line that repeats a choice. No TensorFlow."""

import dataclasses
import math
from dataclasses import dataclass, replace

from cifar_model.errors import SettingsError

NETWORKS = {
    "seed-cnn": "A classic small CNN: three convolutions and two dense layers, 123 thousand parameters.",
    "lab-net": "A modern small residual network, built for accuracy per second of CPU, 2.2 million parameters.",
    "custom": "Your own: choose the convolution blocks, their filters, the dropout and the dense layer.",
}

RECIPES = {
    "seed": "Plain Adam at one learning rate, batches of 32, no augmentation: the textbook start.",
    "quick": "For live demonstrations: a short schedule that gets far in a few minutes.",
    "full": "For the best model: more epochs, with augmentation and a falling learning rate.",
}

OPTIMIZERS = {
    "adam": "Adam: adapts the step of every weight (Kingma & Ba 2015).",
    "adamw": "Adam with decoupled weight decay (Loshchilov & Hutter 2019).",
    "sgd": "Stochastic gradient descent with Nesterov momentum 0.9.",
    "muon": "Muon: orthogonalised steps for convolution kernels, Adam for the rest (Jordan et al. 2024).",
}

PRECISIONS = ("auto", "float32", "bfloat16")

# Lowest and highest admitted value of each number in Settings.
LIMITS = {
    "epochs": (1, 200),
    "batch_size": (8, 2048),
    "learning_rate": (1e-6, 2.0),
    "fraction": (0.001, 1.0),
    "mixup": (0.0, 4.0),
    "validation": (0.02, 0.5),
    "seed": (0, 2**31 - 1),
    "dropout": (0.0, 0.8),
    "dense": (8, 512),
    "blocks": (1, 4),
    "filters": (4, 256),
}


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
        for each training picture of a step.
    mixup_share
        With mixup: share of each batch that is blended.
    passes
        How often an epoch goes through the training pictures, each time augmented anew.
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
    mixup_share: float = 0.5
    passes: int = 1


_PLAIN = {
    "seed": Recipe(15, 32, 1e-3, "adam", augment=False, schedule="constant"),
    "quick": Recipe(6, 128, 3e-3, "adam", augment=True, warmup=0.05, shift=1),
    "full": Recipe(40, 128, 3e-3, "adam", augment=True, warmup=0.05),
}
_TABLE = {
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
            30,
            500,
            0.12,
            "muon",
            augment=True,
            schedule="linear",
            label_smoothing=0.1,
            shift=3,
            cutout=12,
            resolutions=((0.5, 24), (1.0, 32)),
        ),
    },
}
# For the thousand distilled pictures, where one pass takes a blink: an epoch here is several.
_PLAIN_MINI = {
    "seed": Recipe(15, 32, 1e-3, "adam", augment=False, schedule="constant", passes=5),
    "quick": Recipe(20, 125, 3e-3, "adam", augment=True, shift=3, passes=5),
    "full": Recipe(60, 125, 3e-3, "adam", augment=True, shift=3, passes=5),
}
_MINI_TABLE = {
    "seed-cnn": _PLAIN_MINI,
    "custom": _PLAIN_MINI,
    "lab-net": {
        "seed": Recipe(15, 32, 1e-3, "adam", augment=False, schedule="constant", passes=2),
        "quick": replace(_TABLE["lab-net"]["quick"], epochs=10, passes=2),
        "full": replace(_TABLE["lab-net"]["full"], batch_size=125, passes=2),
    },
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides a training run; the same fields stand in ``settings.json`` and on the command line.

    epochs, batch_size, learning_rate, optimizer and augment default to the recipe's own values (see
    `default_settings`). fraction is the share of the training part to use, validation the share of the
    training images held out (not of the distilled pictures, ``data="mini"``, which have recipes and validation
    pictures of their own); start_from names a model of the same network whose weights to begin with; outliers
    names pictures of other things to show as well ("cifar100" or a path, "none" for none; see `outliers`); mixup is
    the alpha of mixup's Beta(alpha, alpha), 0 for no blends (Zhang et al. 2018, arXiv:1710.09412); filters, dropout
    and dense shape the ``custom`` network alone.

    Raises SettingsError on any value outside `LIMITS` or unknown name.
    """

    network: str = "lab-net"
    recipe: str = "quick"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: str | None = None
    augment: bool | None = None
    fraction: float = 1.0
    validation: float = 0.1
    seed: int = 0
    precision: str = "auto"
    deterministic: bool = False
    data: str | None = None
    start_from: str | None = None
    outliers: str = "none"
    mixup: float = 0.0
    filters: tuple[int, ...] = (32, 64, 64)
    dropout: float = 0.2
    dense: int = 64

    def __post_init__(self):
        _choice("network", self.network, NETWORKS)
        _choice("recipe", self.recipe, RECIPES)
        recipe = self.details
        for field in ("epochs", "batch_size", "learning_rate", "optimizer", "augment"):
            if getattr(self, field) is None:
                object.__setattr__(self, field, getattr(recipe, field))
        object.__setattr__(self, "filters", tuple(self.filters))
        _choice("optimizer", self.optimizer, OPTIMIZERS)
        _choice("precision", self.precision, PRECISIONS)
        for field in ("epochs", "batch_size", "seed", "dense"):
            _number(field, getattr(self, field), whole=True)
        for field in ("learning_rate", "fraction", "validation", "dropout", "mixup"):
            _number(field, getattr(self, field))
        _number("blocks", len(self.filters), whole=True)
        for width in self.filters:
            _number("filters", width, whole=True)

    @property
    def details(self) -> Recipe:
        """The recipe's own entries, the hidden ones included."""
        return (_MINI_TABLE if self.data == "mini" else _TABLE)[self.network][self.recipe]

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return dataclasses.asdict(self) | {"filters": list(self.filters)}

    @classmethod
    def from_dict(cls, values: dict) -> "Settings":
        """The inverse of `to_dict`; SettingsError on a field that does not exist."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise SettingsError(f"Unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        return cls(**values)

    def to_argv(self) -> list[str]:
        """The options of ``python -m cifar_model train`` that give these settings; defaults are left out."""
        plain = Settings(network=self.network, recipe=self.recipe, data=self.data)
        argv = ["--network", self.network, "--recipe", self.recipe]
        if self.data is not None:
            argv += ["--data", self.data]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == getattr(plain, field.name):
                continue
            option = "--" + field.name.replace("_", "-")
            if field.name == "augment":
                argv.append("--augment" if value else "--no-augment")
            elif field.name == "deterministic":
                argv.append(option)
            elif field.name == "filters":
                argv += [option, ",".join(map(str, value))]
            else:
                argv += [option, str(value)]
        return argv


def default_settings(network: str = "lab-net", recipe: str = "quick", data: str | None = None) -> Settings:
    """The recipe's own settings for that network and data. Raises SettingsError on an unknown name."""
    return Settings(network=network, recipe=recipe, data=data)


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
    """Side in pixels of the training pictures at `progress` (0 to 1)."""
    return next((size for until, size in recipe.resolutions if progress < until), recipe.resolutions[-1][1])


def _choice(field: str, value, allowed) -> None:
    if value not in allowed:
        raise SettingsError(f"Unknown {field} {value!r}. Choose one of: {', '.join(allowed)}.")


def _number(field: str, value, *, whole: bool = False) -> None:
    low, high = LIMITS[field]
    kind = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        raise SettingsError(f"{field} is {value!r}; it must be {what} from {low} to {high}.")
