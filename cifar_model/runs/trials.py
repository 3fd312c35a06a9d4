"""The trials of a sweep: settings given as lists and ranges, spread out into one `Settings` for each training."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_model.errors import SettingsError
from cifar_model.training.settings import Settings

MAX_TRIALS = 200
SEARCHES = ("grid", "random")
DIGITS = 4  # significant ones of a number that is drawn

# What may vary: every number and every choice by name.
FIELDS = {item.name: item for item in dataclasses.fields(Settings) if {"limits", "choices"}.intersection(item.metadata)}


@dataclass(frozen=True)
class Span:
    """All numbers from `low` to `high`, to be drawn from: uniformly, or with `log` uniformly in their logarithm."""

    low: float
    high: float
    log: bool

    def draw(self, rng: np.random.Generator) -> float:
        """One number, to `DIGITS` significant digits."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        return min(self.high, max(self.low, float(f"{value:.{DIGITS}g}")))


Values = Sequence[Any] | Span


def is_whole(field: str) -> bool:
    """Whether a field of the settings holds whole numbers."""
    return FIELDS[field].type in (int, int | None)


def read_values(field: str, text: str) -> Values:
    """What a person wrote for one of `FIELDS`: "1e-3,3e-3", of whole numbers also "0..2", of others a span.

    A value is there once, in the order given. SettingsError where the text can't be read, or a value lies outside what
    `Settings` admits.
    """
    option = "--" + field.replace("_", "-")
    choices = FIELDS[field].metadata.get("choices")
    if ".." in text and not choices:
        low, high = (_number(field, part, text) for part in text.split("..", 1))
        if not low <= high:
            raise SettingsError(f"{option} is {text!r}: a range goes from the smaller to the larger number.")
        for end in (low, high):
            Settings(**{field: end})
        if is_whole(field):
            return range(int(low), int(high) + 1)
        return [low] if low == high else Span(low, high, log=field == "learning_rate")
    parts = [part.strip() for part in text.split(",")]
    values = list(dict.fromkeys(parts if choices else (_number(field, part, text) for part in parts)))
    for value in values:
        Settings(**{field: value})
    return values


def _number(field: str, part: str, text: str) -> float:
    try:
        return int(part) if is_whole(field) else float(part)
    except ValueError:
        kind, example = ("a whole number", "0,1,2 or 0..2") if is_whole(field) else ("a number", "1e-3,3e-3")
        raise SettingsError(
            f"--{field.replace('_', '-')} is {text!r}, and {part.strip()!r} is not {kind}: give a list like {example}."
        ) from None


def expand(
    fixed: Mapping[str, Any], varied: Mapping[str, Values], *, search: str = "grid", samples: int = 0, seed: int = 0
) -> list[Settings]:
    """The trials of a sweep, each once.

    Parameters
    ----------
    fixed : fields of `Settings` that all trials share
    varied : values of the fields that differ, from `read_values`
    search : "grid" for every combination, the last field changing fastest, or "random" for some drawn from all
    samples : how many are drawn; `seed`: the same one draws the same

    Raises
    ------
    SettingsError
        Nothing varies, a span in a grid, more than `MAX_TRIALS` or than there are, or values that `Settings` refuses.
    """
    spans = [field for field, values in varied.items() if isinstance(values, Span)]
    total = math.prod(math.inf if isinstance(values, Span) else len(values) for values in varied.values())
    if total <= 1:
        raise SettingsError(
            "Nothing varies: give a setting several values, such as --learning-rate 1e-3,3e-3 or --seed 0..2."
        )
    if search == "random":
        if not 1 <= samples <= MAX_TRIALS:
            raise SettingsError(f"--search random draws from 1 to {MAX_TRIALS} trainings: --samples is {samples}.")
        if samples > total:
            raise SettingsError(
                f"--samples is {samples}, and there are {total} different trainings: leave --search random out to have "
                "all of them."
            )
        found = list(itertools.islice(_drawn(varied, np.random.default_rng(seed)), samples))
        if len(found) < samples:
            raise SettingsError(f"Only {len(found)} different trainings were drawn: widen a range, or lower --samples.")
    else:
        if spans:
            option = "--" + spans[0].replace("_", "-")
            raise SettingsError(
                f"{option} is a range of numbers, and a grid needs a list of them, such as 0.1,0.2,0.3. To draw from a "
                "range: --search random --samples 10."
            )
        if total > MAX_TRIALS:
            raise SettingsError(
                f"These are {total:,} trainings, and a sweep may have {MAX_TRIALS}: give fewer values, or draw some of "
                "them with --search random --samples 20."
            )
        found = itertools.product(*varied.values())
    return [Settings(**fixed, **dict(zip(varied, values, strict=True))) for values in found]


def _drawn(varied: Mapping[str, Values], rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Combinations at random; none comes twice, and when hardly any new one is left, no more come."""
    seen = set()
    for _ in range(500 * MAX_TRIALS):
        drawn = tuple(
            values.draw(rng) if isinstance(values, Span) else values[int(rng.integers(len(values)))]
            for values in varied.values()
        )
        if drawn not in seen:
            seen.add(drawn)
            yield drawn
