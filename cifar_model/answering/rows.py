"""The answer to a file as a row of a table, for machines: the same columns wherever answers are written."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.answering.files import FileAnswer
from cifar_model.classes import CLASS_NAMES
from cifar_model.trust.answer_sets import describe_set


@dataclass(frozen=True)
class Extras:
    """What was asked for beyond probabilities: answer sets at a level, and whether a picture is in scope."""

    level: int | None
    scope: bool

    def columns(self, answer: Answer) -> dict[str, Any]:
        """Name and value of each, for machines, of one picture; what the model doesn't have is left out."""
        values: dict[str, Any] = {}
        if self.level and (members := answer.members(self.level)) is not None:
            values[f"set_{self.level}"] = [CLASS_NAMES[i] for i in np.flatnonzero(members)]
        if self.scope and answer.scope is not None:
            values |= {"scope": float(answer.scope), "in_scope": bool(answer.in_scope)}
        return values

    def names(self) -> list[str]:
        return [f"set_{self.level}"] * bool(self.level) + ["scope", "in_scope"] * self.scope

    def words(self, answer: Answer) -> list[str]:
        """For a person."""
        said = []
        if self.level and (members := answer.members(self.level)) is not None:
            said.append(describe_set(members, self.level))
        if self.scope and not answer.in_scope:
            said.append("looks like none of the ten")
        return said


def row_columns(extras: Extras) -> tuple[str, ...]:
    """The names of the cells of `row_of`."""
    return ("file", "class", "probability", *CLASS_NAMES, *extras.names())


def row_of(one: FileAnswer, extras: Extras) -> tuple:
    """The cells of one answer; of a picture that can't be read, all but its file are None."""
    if one.answer is None:
        return (path_text(one.path), *[None] * (len(row_columns(extras)) - 1))
    p = one.answer.probabilities.tolist()
    best = int(one.answer.probabilities.argmax())
    more = [" ".join(v) if isinstance(v, list) else v for v in extras.columns(one.answer).values()]
    return (path_text(one.path), CLASS_NAMES[best], p[best], *p, *more)


def path_text(path: str | os.PathLike) -> str:
    """A path as valid text: bytes of a file name that are none become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")
