"""The visitor's own pictures: kept for the whole visit, whatever page or sample is looked at meanwhile."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import streamlit as st

from cifar_model.app.classify.answers import Entry
from cifar_model.pictures.folders import IMAGE_SUFFIXES

CHOSEN = "chosen"  # session key: the id of the picture that is looked at
# Files that no camera and no editor wrote as a picture; among many they are no more than by-catch.
NO_PICTURES = frozenset(
    ".txt .md .csv .json .xml .html .htm .pdf .doc .docx .xls .xlsx .ppt .pptx .zip .gz .tar .mp3 .mp4 .mov .avi .wav "
    ".py .ipynb .js .css .db .ini .aae .xmp .thm .log".split()
)


@dataclass
class Own:
    """The pictures by id, in the order in which they came, and what was left out of the last lot."""

    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # id → name, with its folder if known; bytes
    removed: set[str] = field(default_factory=set)  # ids that the uploader may still hold
    left_out: list[str] = field(default_factory=list)

    def add(self, files: Iterable[tuple[str, str, bytes]]) -> list[str]:
        """Take in what is new of (id, name, bytes); returns its ids, in natural order of the names."""
        new = [file for file in files if file[0] not in self.files and file[0] not in self.removed]
        wanted = [file for file in new if len(new) == 1 or _may_be_picture(file[1])]
        self.left_out = sorted(
            (name for identity, name, _ in new if identity not in {w[0] for w in wanted} and not _is_hidden(name)),
            key=natural,
        )
        for identity, name, data in wanted:
            self.files[identity] = (name, data)
        return [identity for identity, name, _ in sorted(wanted, key=lambda file: natural(file[1]))]

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
        by_name = sorted(self.files.items(), key=lambda item: (natural(item[1][0]), item[0]))
        names = unique_names([name for _, (name, _) in by_name])
        return [
            Entry(identity, name, lambda data=data: data)
            for name, (identity, (_, data)) in zip(names, by_name, strict=True)
        ]


def own_pictures() -> Own:
    """This visit's own pictures."""
    return st.session_state.setdefault("own_pictures", Own())


def natural(name: str) -> list:
    """A sort key that puts img2 before img10."""
    parts = re.split(r"([0-9]+)", name.casefold())
    # Of numbers without their zeros the longer is the larger, however long they are.
    return [(len(part.lstrip("0")), part.lstrip("0")) if i % 2 else (0, part) for i, part in enumerate(parts)]


def unique_names(paths: list[str]) -> list[str]:
    """File names without their folders where that tells them apart; else with the folder, else with a number."""
    short = [PurePosixPath(path.replace("\\", "/")).name or path for path in paths]
    twice = {name for name, count in Counter(short).items() if count > 1}
    names = [path if name in twice else name for path, name in zip(paths, short, strict=True)]
    seen: Counter = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part.startswith(".") for part in parts) or parts[-1:] in (("Thumbs.db",), ("desktop.ini",))


def _may_be_picture(name: str) -> bool:
    suffix = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    return not _is_hidden(name) and (suffix in IMAGE_SUFFIXES or suffix not in NO_PICTURES)
