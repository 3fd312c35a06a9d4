"""What a visit knows about its pictures on Classify: read, answered, put into a table."""

from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.app.shared import resources
from cifar_model.app.workers.prepare import Picture
from cifar_model.errors import LabError, WorkerError
from cifar_model.models.folder import ModelInfo

CENTRE = 0.5
PATIENCE = 60.0  # seconds; on a server so busy a visitor is told so, rather than left to wait


class Passing(str):
    """Why a picture could not be read this time, which says nothing about the picture."""


@dataclass(frozen=True)
class Entry:
    """A picture that is to be answered, however it came."""

    id: str
    name: str
    file: Path | None  # None for a sample, which is at hand already

    @property
    def truth(self) -> str | None:
        """What a sample shows; of other pictures nobody but the visitor knows."""
        return self.name if self.id.startswith("sample-") else None


class Visit:
    """What this visitor's pictures came to: kept in the session, so that only what is new is worked on."""

    def __init__(self) -> None:
        self.pictures: dict[tuple, Picture | str] = {}  # (entry, position) → the picture, or why it is none
        self.beliefs: dict[tuple, Answer] = {}  # (entry, position, model, its version) → of one picture
        self.positions: dict[str, float] = {}

    def key(self, entry: Entry) -> tuple:
        return entry.id, self.positions.get(entry.id, CENTRE)

    def picture(self, entry: Entry) -> Picture | str | None:
        """The picture, a message why it can't be read, or None as long as nobody has looked."""
        return self.pictures.get(self.key(entry))

    def belief(self, entry: Entry, model: ModelInfo) -> Answer | None:
        """What a model makes of one picture: arrays without their first axis."""
        return self.beliefs.get((*self.key(entry), model.path, resources.version(model.path)))

    def forget_all_but(self, entries: list[Entry], chosen: Entry, models: list[ModelInfo]) -> None:
        """Drop what isn't shown any more: pictures taken away, squares moved from, models not asked any more.

        The large preview of a picture stays for the one that is looked at alone: hundreds of them are too much.
        """
        own = {entry.id for entry in entries}

        def is_here(key: tuple) -> bool:
            known = key[0] in own or key[0].startswith("sample-")
            return known and key[1] == self.positions.get(key[0], CENTRE)

        paths = {model.path for model in models}
        self.beliefs = {key: kept for key, kept in self.beliefs.items() if is_here(key) and key[2] in paths}
        self.pictures = {
            key: replace(kept, preview="") if key[0] in own - {chosen.id} and isinstance(kept, Picture) else kept
            for key, kept in self.pictures.items()
            if is_here(key)
        }

    def missing(self, entries: list[Entry], models: list[ModelInfo]) -> list[Entry]:
        def incomplete(entry: Entry) -> bool:
            picture = self.picture(entry)
            return picture is None or (
                isinstance(picture, Picture) and any(self.belief(entry, model) is None for model in models)
            )

        return [entry for entry in entries if incomplete(entry)]

    def look_at(self, entry: Entry) -> None:
        """Read a picture that is looked at alone, unless its large preview is at hand."""
        if isinstance(picture := self.picture(entry), Picture) and not picture.preview:
            del self.pictures[self.key(entry)]
        self.collect(self.start([entry]))

    def start(self, entries: list[Entry]) -> dict[tuple, Future]:
        """Have pictures read that nobody has looked at yet; `collect` takes the results."""
        jobs = {}
        for entry in entries:
            if self.picture(entry) is not None:
                continue
            if entry.id.startswith("sample-") and entry.id not in self.positions:
                self.pictures[self.key(entry)] = resources.samples()[entry.name]
                continue
            source = entry.file or resources.sample_path(entry.name)
            position = self.positions.get(entry.id, CENTRE)
            job = resources.drawing().submit("prepare", source, entry.name, (position, position))
            jobs[self.key(entry)] = job
        return jobs

    def collect(self, jobs: dict[tuple, Future]) -> None:
        """Keep what `start` has had read; TimeoutError where a busy server doesn't come to it."""
        try:
            for key, job in jobs.items():
                try:
                    self.pictures[key] = job.result(PATIENCE)
                except WorkerError as error:
                    self.pictures[key] = Passing(error)
                except LabError as error:
                    self.pictures[key] = str(error)
        finally:  # those that nobody waits for any more
            for job in jobs.values():
                job.cancel()

    def try_again(self) -> None:
        """Forget what could not be read for a passing reason."""
        self.pictures = {key: found for key, found in self.pictures.items() if not isinstance(found, Passing)}

    def ask(self, entries: list[Entry], models: list[ModelInfo]) -> None:
        """Answer pictures that have been read."""
        for model in models:
            asked = [
                entry
                for entry in entries
                if isinstance(self.picture(entry), Picture) and self.belief(entry, model) is None
            ]
            if asked:
                pixels = np.stack([self.picture(entry).pixels for entry in asked])
                beliefs = resources.ask(model.path, pixels)
                for i, entry in enumerate(asked):
                    self.beliefs[*self.key(entry), model.path, resources.version(model.path)] = beliefs[i]
