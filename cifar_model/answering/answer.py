"""What a model answers to pictures, on its way from the network to a page or a table."""

from dataclasses import dataclass

import numpy as np

from cifar_model.errors import SettingsError
from cifar_model.trust.answer_sets import LEVELS


@dataclass(frozen=True)
class Answer:
    """What a model makes of n pictures; an index picks some of them, as of an array, or one, without the first axis.

    Attributes
    ----------
    probabilities : float32 (n, 10), calibrated unless the classifier was told otherwise; each row sums to 1
    raw : float32 (n, 10), the network's own softmax
    sets : bool (n, 3, 10), the classes that can't be ruled out, for each of `answer_sets.LEVELS`; None where the card
        has no sets
    scope : float32 (n,), see `trust.scope`, higher = more like the ten classes; None where the card has no threshold
    in_scope : bool (n,), whether `scope` reaches its threshold; None with `scope`
    """

    probabilities: np.ndarray
    raw: np.ndarray
    sets: np.ndarray | None = None
    scope: np.ndarray | None = None
    in_scope: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index) -> "Answer":
        some = (None if part is None else part[index] for part in (self.sets, self.scope, self.in_scope))
        return Answer(self.probabilities[index], self.raw[index], *some)

    @classmethod
    def join(cls, several: list["Answer"]) -> "Answer":
        """Put together what one model was asked in parts, at least one."""

        def joined(name: str) -> np.ndarray | None:
            parts = [getattr(one, name) for one in several]
            return None if any(part is None for part in parts) else np.concatenate(parts)

        return cls(
            np.concatenate([one.probabilities for one in several]),
            np.concatenate([one.raw for one in several]),
            *(joined(name) for name in ("sets", "scope", "in_scope")),
        )

    def shown(self, raw: bool) -> np.ndarray:
        """The probabilities that a visitor wants to see."""
        return self.raw if raw else self.probabilities

    def members(self, level: int) -> np.ndarray | None:
        """The answer sets at a level of `answer_sets.LEVELS`: bool (n, 10); SettingsError on another level."""
        if level not in LEVELS:
            raise SettingsError(f"Answer sets can be had at {', '.join(map(str, LEVELS))} %. Received: {level}.")
        return None if self.sets is None else self.sets[..., LEVELS.index(level), :]
