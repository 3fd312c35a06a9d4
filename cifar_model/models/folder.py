"""Model directories: list them, find one by name, name one's kept epochs."""

import os
import re
from dataclasses import dataclass
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


def list_models(*, epochs: bool = False) -> list[ModelInfo]:
    """Bundled models first, then runs that hold a model, newest first; with `epochs`, each kept epoch of a run too."""
    models = []
    bundled = assets_dir() / "models"
    # The strongest opens the list, since pages take its first entry as their default.
    for path in sorted(bundled.glob(f"*/{MODEL_FILE}"), key=lambda p: (p.parent.name != "lab-net", p)):
        models.append(_info(path.parent, "bundled"))
    runs = [path.parent for path in runs_dir().glob(f"*/{MODEL_FILE}")]
    for path in sorted(runs, key=_modified, reverse=True):
        models.append(_info(path, "run"))
        if epochs:
            models += [
                ModelInfo(f"{path.name}@{number}", file, f"{path.name}, epoch {number}", models[-1].card, "epoch")
                for number, file in kept_epochs(path)
            ]
    return models


def _modified(path: Path) -> float:
    try:
        return (path / MODEL_FILE).stat().st_mtime
    except OSError:
        return 0.0


def _info(path: Path, kind: str) -> ModelInfo:
    try:
        card = read_card(path)
    except ModelError:
        card = Card()
    accuracy = card.scores.test_accuracy
    title = path.name if accuracy is None else f"{path.name} ({share(accuracy)} on test)"
    return ModelInfo(path.name, path, title, card, kind)


def kept_epochs(run: Path) -> list[tuple[int, Path]]:
    """(epoch, file) of the networks that a run kept, in order."""
    files = ((re.fullmatch(r"epoch-(\d+)", file.stem), file) for file in (run / EPOCHS_FOLDER).glob("*.keras"))
    return sorted((int(match[1]), file) for match, file in files if match)


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
    plain = bool(re.fullmatch(r"[\w.-]+", run)) and run not in (".", "..")
    if plain and at:
        for number, file in kept_epochs(runs_dir() / run):
            if str(number) == epoch:
                return file
    if plain and not at:
        for folder in (assets_dir() / "models" / run, runs_dir() / run):
            if (folder / MODEL_FILE).is_file():
                return folder
    path = Path(text)
    if path.name == MODEL_FILE and path.is_file() and (path.parent / CARD_FILE).is_file():
        return path.parent  # the same numbers by file as by folder
    if (path / MODEL_FILE).is_file() or (path.suffix == ".keras" and path.is_file()):
        return path
    known = ", ".join(model.name for model in list_models()) or "none yet"
    raise ModelError(
        f"No model {text!r}. Models here: {known}. "
        "Give one of them, RUN@EPOCH, or the path of a folder that holds model.keras."
    )
