"""Numbers and names in words for a person: one of each. `app/browser/base/base.js` has the same `percent`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence


def percent(probability: float) -> str:
    """A probability for a person: '93 %', '0.4 %', '< 0.1 %'; '100 %' for 1 alone, and never '0 %'.

    A softmax is never quite 0, even where its digits are.
    """
    if probability < 0.001:
        return "< 0.1 %"
    if probability < 0.0995 or 0.99 <= probability < 1:
        return f"{min(100 * probability, 99.9):.1f} %"
    return f"{100 * probability:.0f} %"


def share(counted: float | None, digits: int = 1) -> str:
    """A share that was counted, 0 to 1, to so many digits: '91.7 %', '< 0.1 %', '0 %', '–' for None and NaN.

    Only all is '100 %' and only none '0 %'.
    """
    if counted is None or math.isnan(counted):
        return "–"
    if counted in (0, 1):
        return f"{100 * counted:.0f} %"
    unit = 10**-digits
    if 0 < counted < unit / 200:
        return f"< {unit:g} %"
    return f"{min(100 * counted, 100 - unit):.{digits}f} %"


def proportion(ratio: float) -> str:
    """How much of a mix is one of its images, from 0 to 1, as it was asked for: '40 %', '12.5 %'."""
    return f"{100 * ratio:.4g} %"


def duration(seconds: float) -> str:
    """A time span for a person: '45 s', '3 min 20 s', '2 h 5 min'."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s" if seconds < 600 else f"{round(seconds / 60)} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a row, of many the first: 'a, b, c, d, e and 34 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def escape_markdown(text: str) -> str:
    """Text that Markdown shows letter by letter."""
    return re.sub(r"([\\`*_{}\[\]#!|~$:<>&])", r"\\\1", text)


def printable(text: str) -> str:
    """Text on one line that can't control a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
