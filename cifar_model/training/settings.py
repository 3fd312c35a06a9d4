"""The settings of a training: their limits, and the command line that repeats them. No TensorFlow."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from cifar_model.errors import SettingsError
from cifar_model.networks.choices import NETWORKS, OPTIMIZERS, RECIPES
from cifar_model.training.recipes import MINI_RECIPE_TABLE, RECIPE_TABLE, Recipe

PRECISIONS = ("auto", "float32", "bfloat16")


def _within(low: float, high: float, default: float | None = None) -> Any:
    """A field that holds a number from `low` to `high`; without a default, the recipe's own."""
    return field(default=default, metadata={"limits": (low, high)})


def _one_of(choices: Iterable[str], default: str | None = None) -> Any:
    """A field that holds one of these names; without a default, the recipe's own."""
    return field(default=default, metadata={"choices": tuple(choices)})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides a training run; the same fields stand in ``settings.json`` and on the command line.

    epochs, batch_size, learning_rate, optimizer and augment default to the recipe's own values (see
    `default_settings`). fraction is the share of the training part to use, validation the share of the
    training images held out (not of the distilled images, ``data="mini"``, which have recipes and validation
    pictures of their own); start_from names a model of the same network whose weights to begin with; outliers
    names pictures of other things to show as well ("cifar100" or a path, "none" for none; see `outliers`); mixup is
    the alpha of mixup's Beta(alpha, alpha), 0 for no blends (Zhang et al. 2018, arXiv:1710.09412); early_stopping is
    the number of epochs without a better validation accuracy after which the run ends, 0 for never; filters, dropout
    and dense shape the ``custom`` network alone.

    Raises SettingsError on any value outside `LIMITS` or unknown name.
    """

    network: str = _one_of(NETWORKS, "lab-net")
    recipe: str = _one_of(RECIPES, "quick")
    epochs: int | None = _within(1, 200)
    batch_size: int | None = _within(8, 2048)
    learning_rate: float | None = _within(1e-6, 2.0)
    optimizer: str | None = _one_of(OPTIMIZERS)
    augment: bool | None = None
    fraction: float = _within(0.001, 1.0, 1.0)
    validation: float = _within(0.02, 0.5, 0.1)
    seed: int = _within(0, 2**31 - 1, 0)
    precision: str = _one_of(PRECISIONS, "auto")
    deterministic: bool = False
    data: str | None = None
    start_from: str | None = None
    outliers: str = "none"
    mixup: float = _within(0.0, 4.0, 0.0)
    early_stopping: int = _within(0, 200, 0)
    filters: tuple[int, ...] = (32, 64, 64)
    dropout: float = _within(0.0, 0.8, 0.2)
    dense: int = _within(8, 512, 64)

    def __post_init__(self):
        _choice("network", self.network, NETWORKS)
        _choice("recipe", self.recipe, RECIPES)
        for name in ("epochs", "batch_size", "learning_rate", "optimizer", "augment"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self.details, name))
        object.__setattr__(self, "filters", tuple(self.filters))
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if "choices" in item.metadata:
                _choice(item.name, value, item.metadata["choices"])
            elif "limits" in item.metadata:
                _number(item.name, value, whole=item.type in (int, int | None))
        _number("blocks", len(self.filters), whole=True)
        for width in self.filters:
            _number("filters", width, whole=True)

    @property
    def details(self) -> Recipe:
        """The recipe's own entries, the hidden ones included."""
        recipe = (MINI_RECIPE_TABLE if self.data == "mini" else RECIPE_TABLE)[self.network][self.recipe]
        # A blend's target is soft already, and says how much of each picture is there: nothing may be cut out of it.
        return replace(recipe, label_smoothing=0.0, cutout=0) if self.mixup else recipe

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return dataclasses.asdict(self) | {"filters": list(self.filters)}

    @classmethod
    def from_dict(cls, values: dict) -> "Settings":
        """The inverse of `to_dict`; SettingsError on a field that does not exist."""
        known = {item.name for item in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise SettingsError(f"Unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        return cls(**values)

    def to_argv(self) -> list[str]:
        """The options of ``python -m cifar_model train`` that give these settings; defaults are left out."""
        plain = Settings(network=self.network, recipe=self.recipe, data=self.data)
        argv = ["--network", self.network, "--recipe", self.recipe]
        if self.data is not None:
            argv += ["--data", self.data]
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value == getattr(plain, item.name):
                continue
            option = "--" + item.name.replace("_", "-")
            if item.name == "augment":
                argv.append("--augment" if value else "--no-augment")
            elif item.name == "deterministic":
                argv.append(option)
            elif item.name == "filters":
                argv += [option, ",".join(map(str, value))]
            else:
                argv += [option, str(value)]
        return argv


# Lowest and highest admitted value of each number in Settings.
LIMITS: dict[str, tuple[float, float]] = {
    item.name: item.metadata["limits"] for item in dataclasses.fields(Settings) if "limits" in item.metadata
} | {"blocks": (1, 4), "filters": (4, 256)}


def default_settings(network: str = "lab-net", recipe: str = "quick", data: str | None = None) -> Settings:
    """The recipe's own settings for that network and data. Raises SettingsError on an unknown name."""
    return Settings(network=network, recipe=recipe, data=data)


def _choice(name: str, value, allowed) -> None:
    if value not in allowed:
        raise SettingsError(f"Unknown {name} {value!r}. Choose one of: {', '.join(allowed)}.")


def _number(name: str, value, *, whole: bool = False) -> None:
    low, high = LIMITS[name]
    kind = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        meant = ""
        if high <= 1 and isinstance(value, int | float) and 1 < value <= 100 and low <= value / 100 <= high:
            meant = f" Did you mean {value / 100:g}?"
        raise SettingsError(f"{name} is {value!r}; it must be {what} from {low} to {high}.{meant}")
