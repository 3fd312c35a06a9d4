"""Model directories: list them, find one by name, name one's kept epochs."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from cifar_model.errors import ModelError
from cifar_model.models.card import Card, read_card
from cifar_model.models.layout import CARD_FILE, EPOCHS_FOLDER, MODEL_FILE
from cifar_model.storage import assets_dir, runs_dir
from cifar_model.text import share


@dataclass(frozen=True)
class ModelInfo:
    """One model that can be asked: ``path`` is its directory, or the ``.keras`` file of one epoch of a run."""

    name: str
    path: Path
    title: str
    card: Card  # an object of JSON is read as one
    kind: str  # "bundled", "run" or "epoch"

    def __post_init__(self) -> None:
        if not isinstance(self.card, Card):
            object.__setattr__(self, "card", Card.from_dict(self.card))


class _Found(ModelInfo):
    """A model on this machine, whose card is read when somebody asks for it: a list of names needs none."""

    def __init__(self, name: str, path: Path, kind: str):
        for field, value in (("name", name), ("path", path), ("kind", kind)):
            object.__setattr__(self, field, value)

    @cached_property
    def card(self) -> Card:
        try:
            return read_card(self.path)
        except ModelError:
            return Card()

    @cached_property
    def title(self) -> str:
        accuracy = self.card.scores.test_accuracy
        return self.name if accuracy is None else f"{self.name} ({share(accuracy)} on test)"


def list_models(*, epochs: bool = False) -> list[ModelInfo]:
    """Bundled models first, then runs that hold a model, newest first; with `epochs`, each kept epoch of a run too."""
    models = []
    bundled = assets_dir() / "models"
    # The strongest opens the list, since pages take its first entry as their default.
    for path in sorted(bundled.glob(f"*/{MODEL_FILE}"), key=lambda p: (p.parent.name != "lab-net", p)):
        models.append(_info(path.parent, "bundled"))
    for path in _runs_with_models():
        models.append(_info(path, "run"))
        if epochs:
            models += epochs_of(models[-1])
    return models


def epochs_of(run: ModelInfo) -> list[ModelInfo]:
    """The kept epochs of a run as models, in order; none of a model of another kind."""
    return [
        ModelInfo(f"{run.name}@{number}", file, f"{run.name}, epoch {number}", run.card, "epoch")
        for number, file in (kept_epochs(run.path) if run.kind == "run" else [])
    ]


def _runs_with_models() -> list[Path]:
    """Folders of runs, the one with the newest model first."""
    try:
        folders = [entry.path for entry in os.scandir(runs_dir()) if not entry.name.startswith(".")]
    except OSError:
        return []
    found = []
    for folder in folders:
        with suppress(OSError):
            found.append((os.stat(os.path.join(folder, MODEL_FILE)).st_mtime, folder))
    return [Path(folder) for _, folder in sorted(found, reverse=True)]


def _info(path: Path, kind: str) -> ModelInfo:
    def stamp(file: str) -> int:
        try:
            return os.stat(path / file).st_mtime_ns
        except OSError:
            return 0

    return _kept_info(path, kind, stamp(CARD_FILE))


@lru_cache(maxsize=1024)
def _kept_info(path: Path, kind: str, changed: int) -> ModelInfo:
    return _Found(path.name, path, kind)


def kept_epochs(run: Path) -> list[tuple[int, Path]]:
    """(epoch, file) of the networks that a run kept, in order."""
    files = ((re.fullmatch(r"epoch-(\d+)", file.stem), file) for file in (run / EPOCHS_FOLDER).glob("*.keras"))
    return sorted((int(match[1]), file) for match, file in files if match)


def model_version(path: Path) -> tuple[int, ...] | None:
    """Changes whenever the file of a model's network does, or a directory's card; None where there is no network."""
    try:
        files = [path / MODEL_FILE, path / CARD_FILE] if path.is_dir() else [path]
        network = files[0].stat()
    except OSError:
        return None
    try:  # a run under way has a network before it has a card
        card = files[1].stat() if len(files) > 1 else None
    except OSError:
        card = None
    return tuple(part for status in (network, card) if status for part in (status.st_mtime_ns, status.st_size))


def find_model(name: str | os.PathLike) -> Path:
    """The directory (or the epoch's file) of a model.

    Parameters
    ----------
    name
        A bundled model, a run, ``RUN@3`` for its epoch 3, or the path of a model directory or ``.keras`` file.

    Raises
    ------
    ModelError
        Where there is none, with the names that exist.
    """
    text = os.fspath(name)
    run, at, epoch = text.partition("@")
    plain = bool(re.fullmatch(r"[\w.-]{1,100}", run)) and run not in (".", "..")
    if plain and at:
        for number, file in kept_epochs(runs_dir() / run):
            if str(number) == epoch:
                return file
    if plain and not at:
        for folder in (assets_dir() / "models" / run, runs_dir() / run):
            if (folder / MODEL_FILE).is_file():
                return folder
    path = Path(text)
    with suppress(OSError):  # no file can have such a name
        if path.name == MODEL_FILE and path.is_file() and (path.parent / CARD_FILE).is_file():
            return path.parent  # the same numbers by file as by folder
        if (path / MODEL_FILE).is_file() or (path.suffix == ".keras" and path.is_file()):
            return path
    known = ", ".join(model.name for model in list_models()) or "none yet"
    raise ModelError(
        f"No model {text[:80]!r}. Models here: {known}. "
        "Give one of them, RUN@EPOCH, or the path of a folder that holds model.keras."
    )
