"""The visitor's own pictures: kept for the whole visit, whatever page or sample is looked at meanwhile."""

import shutil
import tempfile
import uuid
import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import streamlit as st

from cifar_model.app.classify.answers import Entry
from cifar_model.app.shared.uploads import MOST_BYTES, MOST_FILES
from cifar_model.pictures.admit import HEAD_BYTES, kind_of
from cifar_model.pictures.folders import IMAGE_SUFFIXES, distinct_names, is_litter, natural_key
from cifar_model.storage import VISITS, caches_dir

CHOSEN = "chosen"  # session key: the id of the picture that is looked at


@dataclass(frozen=True)
class OwnFile:
    """A picture's file as it came, on disk until the visit ends: its name, with its folder if known, and its bytes."""

    name: str
    path: Path
    size: int


@dataclass
class Own:
    """The pictures by id, in the order in which they came, and what was left out of the last lot.

    At most MOST_FILES of them, and MOST_BYTES together.
    """

    files: dict[str, OwnFile] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)  # names of what is no picture
    beyond: int = 0  # pictures beyond the limits
    unwritten: str = ""  # why a picture could not be kept
    _folder: Path | None = None

    def add(self, files: Iterable[tuple[str, str, bytes]]) -> list[str]:
        """Take in what is new of (id, name, bytes); returns its ids, in natural order of the names."""
        new = sorted((file for file in files if file[0] not in self.files), key=lambda file: natural_key(file[1]))
        wanted = [file for file in new if len(new) == 1 or _may_be_picture(*file[1:])]
        here = {identity for identity, _, _ in wanted}
        self.left_out = [name for identity, name, _ in new if identity not in here and not _is_hidden(name)]
        self.beyond, self.unwritten, added = 0, "", []
        size = sum(file.size for file in self.files.values())
        for identity, name, data in wanted:
            if len(self.files) >= MOST_FILES or size + len(data) > MOST_BYTES:
                self.beyond += 1
                continue
            try:
                path = self._place() / uuid.uuid4().hex
                path.write_bytes(data)
            except OSError as error:
                self.unwritten = error.strerror or str(error)
                continue
            self.files[identity] = OwnFile(name, path, len(data))
            size += len(data)
            added.append(identity)
        return added

    def remove(self, identity: str) -> None:
        """Take one away."""
        if file := self.files.pop(identity, None):
            file.path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Take all away."""
        for identity in list(self.files):
            self.remove(identity)
        self.left_out, self.beyond, self.unwritten = [], 0, ""

    def entries(self) -> list[Entry]:
        """All of them in natural order; of equal names each tells its folder, or has a number."""
        by_name = sorted(self.files.items(), key=lambda item: (natural_key(item[1].name), item[0]))
        names = unique_names([file.name for _, file in by_name])
        return [Entry(identity, name, file.path) for name, (identity, file) in zip(names, by_name, strict=True)]

    def _place(self) -> Path:
        """This visit's folder, gone with the visit."""
        if self._folder is None:
            self._folder = _new_folder()
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder


def _new_folder() -> Path:
    """In the cache folder; where that can't be written, in the system's temporary one."""
    visits = caches_dir() / VISITS
    try:
        visits.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=visits))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="cifar-lab-visit-"))


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
