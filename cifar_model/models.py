"""Model directories: list them, find one by name, read and write what they hold. Keras comes with a network."""

import json
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.errors import ModelError
from cifar_model.files import data_folder, replacing

if TYPE_CHECKING:
    import keras
    import pandas as pd

MODEL_FILE = "model.keras"
CARD_FILE = "card.json"
HISTORY_FILE = "history.csv"
ANSWERS_FILE = "answers.npz"
SCOPE_FILE = "scope.npz"
EPOCHS_FOLDER = "epochs"
# Entries of layers and initializers that Keras 3.5 to 3.12 don't know; None is what they would assume.
_NEWER_ENTRIES = ("quantization_config", "input_axes", "output_axes")
_RENORM_ENTRIES = ("renorm", "renorm_clipping", "renorm_momentum")  # of BatchNormalization, where renorm is off
HISTORY_COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "images_per_second",
    "seconds",
)


@dataclass(frozen=True)
class ModelInfo:
    """One model that can be asked: ``path`` is its directory, or the ``.keras`` file of one epoch of a run."""

    name: str
    path: Path
    title: str
    card: dict
    kind: str  # "bundled", "run" or "epoch"


def assets_dir() -> Path:
    """The folder ``assets/`` that ships with the project."""
    return Path(__file__).resolve().parent.parent / "assets"


def runs_dir() -> Path:
    """Where training runs are kept: ``CIFAR_LAB_RUNS``, else below the user's data directory (`files.data_folder`)."""
    configured = os.environ.get("CIFAR_LAB_RUNS")
    return Path(configured).expanduser() if configured else data_folder() / "runs"


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
        card = load_card(path)
    except ModelError:
        card = {}
    scores = card.get("scores")
    accuracy = scores.get("test_accuracy") if isinstance(scores, dict) else None
    told = isinstance(accuracy, int | float)  # a card may have been edited by hand
    title = f"{path.name} ({100 * accuracy:.1f} % on test)" if told else path.name
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
    if (path / MODEL_FILE).is_file() or (path.suffix == ".keras" and path.is_file()):
        return path
    known = ", ".join(model.name for model in list_models()) or "none yet"
    raise ModelError(
        f"No model {text!r}. Models here: {known}. "
        "Give one of them, RUN@EPOCH, or the path of a folder that holds model.keras."
    )


def load_card(path: Path) -> dict:
    """The card of a model directory (or of the run to which an epoch's file belongs); ModelError if unreadable."""
    folder = path if path.is_dir() else path.parent.parent if path.parent.name == EPOCHS_FOLDER else path.parent
    return read_json(folder / CARD_FILE)


def read_json(path: Path) -> dict:
    """A JSON object from `path`; ModelError that names the file where it is missing or broken."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds {type(value).__name__}, expected a JSON object.")
    return value


def write_json(path: Path, value: dict) -> None:
    """Write `value` as JSON whole or not at all; LabError where the file can't be written."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_history(path: Path) -> "pd.DataFrame":
    """One row a finished epoch with `HISTORY_COLUMNS`; empty where nothing is written yet. `path`: model directory."""
    import pandas as pd  # here, so that a page which shows no table opens without it

    try:
        text = (path / HISTORY_FILE).read_bytes()
    except OSError:
        text = b""
    rows = [line.split(",") for line in text[: text.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()[1:]]
    rows = [row for row in rows if len(row) == len(HISTORY_COLUMNS)]
    frame = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)).apply(pd.to_numeric, errors="coerce")
    return frame.astype(dict.fromkeys(HISTORY_COLUMNS, float)).dropna(subset="epoch").astype({"epoch": int})


@dataclass(frozen=True)
class Answers:
    """What a finished model answered on the test images, in their order.

    `probabilities` is the network's own softmax, float32 (n, 10): `metrics.scale_temperature` with the card's
    temperature makes it what `Classifier` answers. `labels` int64 (n,) is the truth. `scope` float32 (n,), higher =
    more like the ten classes, is None where the model has no such score.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    scope: np.ndarray | None = None


def write_answers(
    path: Path, *, probabilities: np.ndarray, labels: np.ndarray, scope: np.ndarray | None = None
) -> None:
    """Keep the `Answers` of the model directory `path`, whole or not at all; LabError where it can't be written."""
    arrays = {"probabilities": np.asarray(probabilities, np.float32), "labels": np.asarray(labels, np.int64)}
    if scope is not None:
        arrays["scope"] = np.asarray(scope, np.float32)
    with replacing(path / ANSWERS_FILE) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_answers(path: Path) -> Answers | None:
    """The answers of a model directory on the test images.

    None where there are none: an older model, a run under way, or one epoch of a run. ModelError where the file is
    broken.
    """
    file = path / ANSWERS_FILE
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            answers = Answers(stored["probabilities"], stored["labels"], stored.get("scope"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} can't be read: {error}.") from None
    n = len(answers.labels)
    if answers.probabilities.shape != (n, 10) or (answers.scope is not None and answers.scope.shape != (n,)):
        raise ModelError(f"{file} holds answers {answers.probabilities.shape} for {n} labels; expected ({n}, 10).")
    return answers


def save_network(network: "keras.Model", path: Path) -> None:
    """Save `network` as the ``.keras`` file `path`, whole or not at all; LabError where it can't be written."""
    with replacing(path) as temporary:
        network.save(temporary)
        _make_portable(temporary)


def _make_portable(file: Path) -> None:
    """Leave entries out of a ``.keras`` file's configuration that say nothing and that older Keras 3 refuses."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = json.dumps(_without_newer(json.loads(parts["config.json"]))).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def _without_newer(config):
    if isinstance(config, dict):
        return {
            key: _without_newer(value)
            for key, value in config.items()
            if not ((key in _NEWER_ENTRIES and value is None) or (key in _RENORM_ENTRIES and not config["renorm"]))
        }
    return [_without_newer(value) for value in config] if isinstance(config, list) else config


def load_network(path: Path) -> "keras.Model":
    """The network of a model directory, or of a ``.keras`` file.

    Raises
    ------
    ModelError
        Where the file is missing, broken, or not a network from (n, 32, 32, 3) to (n, 10). Code in the file
        (lambda layers) is never run.
    """
    import keras

    file = path / MODEL_FILE if path.is_dir() else path
    try:
        network = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds on a broken or hostile file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{file} can't be loaded as a Keras model: {reason} Expected a .keras file from this lab's `train`."
        ) from error
    shapes = (network.input_shape, network.output_shape)
    if shapes != ((None, 32, 32, 3), (None, 10)):
        raise ModelError(
            f"{file} maps {shapes[0]} to {shapes[1]}; expected (None, 32, 32, 3) to (None, 10)."
        )
    return network
