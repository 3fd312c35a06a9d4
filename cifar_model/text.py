"""Numbers in words for a person: one of each."""

from __future__ import annotations


def percent(probability: float) -> str:
    """A probability for a person: '93 %', '0.4 %', '< 0.1 %'; never '100 %' or '0 %' for what is neither."""
    if 0 < probability < 0.001:
        return "< 0.1 %"
    if probability < 0.0995 or 0.99 <= probability < 1:
        return f"{min(100 * probability, 99.9):.1f} %"
    return f"{100 * probability:.0f} %"


def duration(seconds: float) -> str:
    """A time span for a person: '45 s', '3 min 20 s', '2 h 5 min'."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s" if seconds < 600 else f"{round(seconds / 60)} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
