"""What decides the distilled images, apart from the data."""

from dataclasses import dataclass

from cifar_model.errors import SettingsError

# Lowest and highest admitted value of each number in DistillSettings.
LIMITS = {
    "per_class": (1, 150),
    "validation_per_class": (1, 150),
    "iterations": (1, 1_000_000),
    "seed": (0, 2**31 - 1),
}
MOST_PER_CLASS = 160  # in both parts together, so that the sheets stay below 4 MB: they live in the repository


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """What decides the pictures, apart from the data. SettingsError on a value outside `LIMITS`."""

    per_class: int = 100
    validation_per_class: int = 20
    iterations: int = 2400
    seed: int = 0

    def __post_init__(self):
        for field, (low, high) in LIMITS.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingsError(f"{field} is {value!r}; it must be a whole number from {low} to {high}.")
        if (total := self.per_class + self.validation_per_class) > MOST_PER_CLASS:
            raise SettingsError(
                f"per_class and validation_per_class are {total} together; at most {MOST_PER_CLASS} keep the files "
                "below 4 MB."
            )
