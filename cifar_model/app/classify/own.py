"""The visitor's own pictures: kept for the whole visit, whatever page or sample is looked at meanwhile."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import streamlit as st

from cifar_model.app.classify.answers import Entry
from cifar_model.pictures.admit import HEAD_BYTES, kind_of
from cifar_model.pictures.folders import IMAGE_SUFFIXES, distinct_names, is_litter, natural_key

CHOSEN = "chosen"  # session key: the id of the picture that is looked at


@dataclass
class Own:
    """The pictures by id, in the order in which they came, and what was left out of the last lot."""

    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # id → name, with its folder if known; bytes
    removed: set[str] = field(default_factory=set)  # ids that the uploader may still hold
    left_out: list[str] = field(default_factory=list)

    def add(self, files: Iterable[tuple[str, str, bytes]]) -> list[str]:
        """Take in what is new of (id, name, bytes); returns its ids, in natural order of the names."""
        new = [file for file in files if file[0] not in self.files and file[0] not in self.removed]
        wanted = [file for file in new if len(new) == 1 or _may_be_picture(*file[1:])]
        self.left_out = sorted(
            (name for identity, name, _ in new if identity not in {w[0] for w in wanted} and not _is_hidden(name)),
            key=natural_key,
        )
        for identity, name, data in wanted:
            self.files[identity] = (name, data)
        return [identity for identity, name, _ in sorted(wanted, key=lambda file: natural_key(file[1]))]

    def remove(self, identity: str) -> None:
        """Take one away."""
        self.files.pop(identity, None)
        self.removed.add(identity)

    def clear(self) -> None:
        """Take all away."""
        self.removed |= set(self.files)
        self.files, self.left_out = {}, []

    def entries(self) -> list[Entry]:
        """All of them in natural order; of equal names each tells its folder, or has a number."""
        by_name = sorted(self.files.items(), key=lambda item: (natural_key(item[1][0]), item[0]))
        names = unique_names([name for _, (name, _) in by_name])
        return [
            Entry(identity, name, lambda data=data: data)
            for name, (identity, (_, data)) in zip(names, by_name, strict=True)
        ]


def own_pictures() -> Own:
    """This visit's own pictures."""
    return st.session_state.setdefault("own_pictures", Own())


def unique_names(paths: list[str]) -> list[str]:
    """File names without their folders where that tells them apart; else with folders, else with a number."""
    seen: Counter = Counter()
    result = []
    for name in distinct_names(paths):
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def _is_hidden(name: str) -> bool:
    return any(is_litter(part) for part in PurePosixPath(name.replace("\\", "/")).parts)


def _may_be_picture(name: str, data: bytes) -> bool:
    """By content or, be it damaged or empty, by its suffix."""
    if _is_hidden(name):
        return False
    return kind_of(data[:HEAD_BYTES]) is not None or name.lower().endswith(IMAGE_SUFFIXES)
