"""A model's card: one record of all that is known of a model, and the one place that reads its JSON.

Cards come from runs of any age, and a person may have edited one. So every part may be missing, and nothing is
believed before it is checked: what makes no sense is left out and told in `Card.problems`. Keys that this version
doesn't know stay in `Card.stored`. Dataclasses rather than pydantic, whose import costs the app 0.4 s.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ModelError
from cifar_model.models.layout import CARD_FILE, EPOCHS_FOLDER
from cifar_model.storage import read_json, write_json
from cifar_model.text import share

SCHEMA = 2  # cards without a number are older; a change that older readers would misread raises it

_Reader = Callable[[Any, str, list[str]], Any]  # (value, where it stands, problems) → what it means, None for nonsense


def _part(read: _Reader, default: Any = None) -> Any:
    return field(default=default, metadata={"read": read})


def _parts(read: _Reader) -> Any:
    return field(default_factory=dict, metadata={"read": read})


def _refuse(value: Any, where: str, expected: str, problems: list[str]) -> None:
    arrived = repr(value)
    arrived = arrived if len(arrived) <= 60 else arrived[:59] + "…"
    problems.append(f"{CARD_FILE}: {where} is {arrived}; expected {expected}. It is left out.")


def _number(low: float = -math.inf, high: float = math.inf) -> _Reader:
    bounds = f" from {low:g} to {high:g}" if math.isfinite(high) else f", {low:g} or more" if math.isfinite(low) else ""

    def read(value: Any, where: str, problems: list[str]) -> float | None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number) and low <= number <= high:
                return number
        return _refuse(value, where, "a number" + bounds, problems)

    return read


def _whole(value: Any, where: str, problems: list[str]) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return _refuse(value, where, "a whole number, 0 or more", problems)


def _text(value: Any, where: str, problems: list[str]) -> str | None:
    return value if isinstance(value, str) else _refuse(value, where, "text", problems)


def _object(value: Any, where: str, problems: list[str]) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else _refuse(value, where, "an object", problems)


def _fingerprint(value: Any, where: str, problems: list[str]) -> int | None:
    try:
        number = int(value, 16)
    except (TypeError, ValueError):
        number = -1
    return number if 0 <= number < 2**64 else _refuse(value, where, "64 bits as hexadecimal digits", problems)


def _counts(value: Any, where: str, problems: list[str]) -> np.ndarray | None:
    """int64 (10, 10)"""
    array = _array(value)
    n = len(CLASS_NAMES)
    if array is None or array.shape != (n, n) or array.min() < 0 or (array % 1 != 0).any() or array.sum() == 0:
        return _refuse(value, where, f"{n} × {n} counts", problems)
    return array.astype(np.int64)


def _bins(value: Any, where: str, problems: list[str]) -> np.ndarray | None:
    """float64 (k, 3): mean confidence, accuracy, number of images"""
    array = _array(value)
    if (
        array is None
        or array.ndim != 2
        or array.shape[1] != 3
        or array.min() < 0
        or array[:, :2].max() > 1
        or array[:, 2].sum() == 0
    ):
        return _refuse(value, where, "rows of confidence, accuracy, count", problems)
    return array


def _array(value: Any) -> np.ndarray | None:
    """Nested lists of finite numbers as float64, not empty, or None."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.size and np.isfinite(array).all() else None


def _by_name(read: _Reader, names: tuple[str, ...] | None = None) -> _Reader:
    """An object whose values are all read alike; nulls are left out."""

    def read_all(value: Any, where: str, problems: list[str]) -> dict[str, Any]:
        found = {}
        for name, one in (_object(value, where, problems) or {}).items():
            if one is not None and (names is None or name in names):
                meant = read(one, f"{where}.{name}", problems)
                if meant is not None:
                    found[name] = meant
        return found

    return read_all


def _record(kind: type) -> _Reader:
    """A record of its own; an empty object counts as none."""

    def read(value: Any, where: str, problems: list[str]) -> Any:
        found = _object(value, where, problems)
        return kind(**_read_fields(kind, found, f"{where}.", problems)) if found else None

    return read


def _read_fields(kind: Any, found: dict[str, Any], prefix: str, problems: list[str]) -> dict[str, Any]:
    values = {}
    for one in fields(kind):
        if "read" in one.metadata and found.get(one.name) is not None:
            meant = one.metadata["read"](found[one.name], prefix + one.name, problems)
            if meant is not None:
                values[one.name] = meant
    return values


_SHARE = _number(0, 1)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What it learned from: numbers of images, the greatest fingerprint of those held out, what else it saw."""

    source: str = _part(_text, "")
    train: int | None = _part(_whole)
    validation: int | None = _part(_whole)
    test: int | None = _part(_whole)
    held_out_up_to: int | None = _part(_fingerprint)  # see `data.split`
    note: str = _part(_text, "")
    outliers: Any = _part(lambda value, where, problems: value)


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Precision and recall of one class, 0 to 1; None where there was nothing to measure."""

    precision: float | None = _part(_SHARE)
    recall: float | None = _part(_SHARE)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Shares of right answers, 0 to 1, the loss in nats, and precision and recall by class."""

    validation_accuracy: float | None = _part(_SHARE)
    test_accuracy: float | None = _part(_SHARE)
    test_accuracy_single_view: float | None = _part(_SHARE)
    test_loss: float | None = _part(_number(0))
    classes: dict[str, ClassScores] = _parts(_by_name(_record(ClassScores), CLASS_NAMES))
    confusion: np.ndarray | None = _part(_counts)  # where older cards have it


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `trust.calibration.calibrate` needs, how well it does, and the diagrams float64 (k, 3) with and without."""

    temperature: float | None = _part(_number(0.001, 1000))
    even_share: float = _part(_number(0, 0.999), 0.0)
    fitted_on: str = _part(_text, "")
    expected_calibration_error: float | None = _part(_SHARE)
    expected_calibration_error_before: float | None = _part(_SHARE)
    bins: np.ndarray | None = _part(_bins)
    bins_before: np.ndarray | None = _part(_bins)


@dataclass(frozen=True, kw_only=True)
class SetLevel:
    """Answer sets at one level: the threshold, and on the test images how many hold the truth and how large they are.

    coverage : 0 to 1; mean_size : classes in a set; classes, class_coverage : the same by true class
    """

    threshold: float | None = _part(_number())
    coverage: float | None = _part(_SHARE)
    mean_size: float | None = _part(_number(0, 10))
    classes: dict[str, float] = _parts(_by_name(_number(0, 10), CLASS_NAMES))
    class_coverage: dict[str, float] = _parts(_by_name(_SHARE, CLASS_NAMES))

    @property
    def worst_class(self) -> str | None:
        """The class whose images' sets hold the truth least often: "cat, 76.3 %"; None where that isn't known."""
        name = min(self.class_coverage, key=self.class_coverage.__getitem__, default=None)
        return None if name is None else f"{name}, {share(self.class_coverage[name])}"


def _levels(value: Any, where: str, problems: list[str]) -> dict[int, SetLevel]:
    found = {}
    for level, one in _by_name(_record(SetLevel))(value, where, problems).items():
        if level.isascii() and level.isdigit() and len(level) <= 2:
            found[int(level)] = one
        else:
            _refuse(level, where, "a level such as 95", problems)
    return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Answer sets: what `trust.answer_sets` needs, and how they did, by level in per cent."""

    method: str = _part(_text, "")
    penalty: float | None = _part(_number())
    rank: int | None = _part(_whole)
    fitted_on: str = _part(_text, "")
    levels: dict[int, SetLevel] = _parts(_levels)


@dataclass(frozen=True)
class Histogram:
    """Counts of scores, float64: edges (k+1,), rising; test, outside (k,), of test images and of such of nothing."""

    edges: np.ndarray
    test: np.ndarray
    outside: np.ndarray


def _histogram(value: Any, where: str, problems: list[str]) -> Histogram | None:
    found = value if isinstance(value, dict) else {}
    edges, test, outside = (_array(found.get(name)) for name in ("edges", "test", "outside"))
    if edges is not None and edges.ndim == 1 and len(edges) > 1 and (np.diff(edges) > 0).all():
        counts = [c for c in (test, outside) if c is not None and c.shape == (len(edges) - 1,) and c.min() >= 0]
        if len(counts) == 2:
            return Histogram(edges, *counts)
    return _refuse(value, where, "rising edges, and counts between them of test and outside", problems)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How images of another kind fare: how many, the share that is flagged, the area under the ROC curve."""

    images: int | None = _part(_whole)
    flagged: float | None = _part(_SHARE)
    auroc: float | None = _part(_SHARE)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The score that tells images of the ten classes from others, higher = more like them.

    threshold : below it an image is flagged; false_alarms : share of test images below it; probes : by kind of image
    """

    method: str = _part(_text, "")
    threshold: float | None = _part(_number())
    fitted_on: str = _part(_text, "")
    false_alarms: float | None = _part(_SHARE)
    histogram: Histogram | None = _part(_histogram)
    probes: dict[str, Probe] = _parts(_by_name(_record(Probe)))


@dataclass(frozen=True, kw_only=True)
class Mixes:
    """How well probabilities follow the shares of blends of two images, see `trust.mixes.mix_scores`."""

    pairs: int | None = _part(_whole)
    share_error: float | None = _part(_SHARE)
    parents_mass: float | None = _part(_SHARE)
    top_two: float | None = _part(_SHARE)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """How faithful explanations are: what hiding pixels costs the class, 0 to 1.

    drop_marked : the marked fifth; drop_elsewhere : patches of the same shapes, moved about at random
    """

    method: str = _part(_text, "")
    images: int | None = _part(_whole)
    removed: str = _part(_text, "")  # what stood in the place of hidden pixels
    drop_marked: float | None = _part(_number(-1, 1))
    drop_elsewhere: float | None = _part(_number(-1, 1))


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The model whose weights a training began with."""

    name: str = _part(_text, "")
    command: str = _part(_text, "")
    epochs: int | None = _part(_whole)
    seconds: float | None = _part(_number(0))


def _texts(value: Any, where: str, problems: list[str]) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return _refuse(value, where, "a list of texts", problems)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Where a model that somebody brought in came from, and how it was fitted to this lab, see `models.importing`."""

    file: str = _part(_text, "")
    format: str = _part(_text, "")
    pixels: str = _part(_text, "")
    output: str = _part(_text, "")
    classes: tuple[str, ...] = _part(_texts, ())
    accuracy: float | None = _part(_SHARE)
    notes: tuple[str, ...] = _part(_texts, ())
    created: str = _part(_text, "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Card:
    """What is known of a model; "" or None where it isn't. `bool(card)`: whether there is a card at all.

    settings : as `Settings.to_dict` wrote them; versions : of Python and its packages
    stored : the JSON as it lies in the file; problems : what in it made no sense and was left out, in words
    """

    schema: int = _part(_whole, 0)
    name: str = _part(_text, "")
    network: str = _part(_text, "")
    recipe: str = _part(_text, "")
    settings: dict[str, Any] = _parts(_object)
    details: dict[str, Any] = _parts(_object)
    averaging: str = _part(_text, "")
    parameters: int | None = _part(_whole)
    data: Data = _part(_record(Data), Data())
    scores: Scores = field(default_factory=Scores, metadata={"read": _record(Scores)})
    confusion: np.ndarray | None = _part(_counts)  # rows = truth, columns = answer
    calibration: Calibration | None = _part(_record(Calibration))
    sets: Sets | None = _part(_record(Sets))
    scope: Scope | None = _part(_record(Scope))
    mixes: Mixes | None = _part(_record(Mixes))
    explanation: Explanation | None = _part(_record(Explanation))
    best_epoch: int | None = _part(_whole)
    epochs: int | None = _part(_whole)
    epochs_done: int | None = _part(_whole)  # less where it was stopped; None: unknown
    seconds: float | None = _part(_number(0))
    seed: int | None = _part(_whole)
    precision: str = _part(_text, "")
    versions: dict[str, Any] = _parts(_object)
    command: str = _part(_text, "")
    commit: str = _part(_text, "")
    start_from: Origin | None = _part(_record(Origin))
    imported: Imported | None = _part(_record(Imported))
    created: str = _part(_text, "")
    assessed: dict[str, Any] = _parts(_object)
    stored: dict[str, Any] = field(default_factory=dict, repr=False)
    problems: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.stored)

    def __eq__(self, other: object) -> bool:
        return self.stored == other.stored if isinstance(other, Card) else NotImplemented

    __hash__ = None  # a card holds arrays

    @property
    def correction(self) -> dict[str, float]:
        """What `trust.calibration.calibrate` takes; {} where nothing was fitted."""
        known = self.calibration
        if known is None or known.temperature is None:
            return {}
        return {"temperature": known.temperature, "even_share": known.even_share}

    @property
    def learned_blends(self) -> bool:
        """Whether the network was trained on blends of two images, so that it may estimate their shares."""
        mixup = self.settings.get("mixup")
        return isinstance(mixup, int | float) and mixup > 0

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Card":
        """Read a card's JSON object, of any age.

        Raises
        ------
        ModelError
            A newer version of this project wrote it, or something that is no version stands there.
        """
        _check_schema(stored)
        problems: list[str] = []
        valid, calibration = stored, stored.get("calibration")
        if isinstance(calibration, dict) and calibration.get("power"):  # a second number until schema 2
            valid = {key: value for key, value in stored.items() if key not in ("calibration", "sets", "scope")}
            problems.append("calibration: of an older kind. Measure the model again: `python -m cifar_model assess`")
        values = _read_fields(cls, valid, "", problems)
        return cls(**values, stored=stored, problems=tuple(problems))


def _check_schema(stored: dict[str, Any], where: str = CARD_FILE) -> None:
    schema = stored.get("schema", 0)
    if isinstance(schema, bool) or not isinstance(schema, int) or not 0 <= schema <= SCHEMA:
        raise ModelError(
            f"{where} can't be read: its schema is {str(schema)[:20]!r}, and this version reads up to {SCHEMA}. "
            "A newer version of the lab wrote it, or it was edited; use that version, or correct the number."
        )


def load_card(path: Path) -> dict[str, Any]:
    """The JSON of a model's card as it is stored, to show or to write again; `read_card` tells what it means.

    `path` is a model directory, or the file of one epoch, whose run has the card. ModelError if it can't be read.
    """
    folder = path if path.is_dir() else path.parent.parent if path.parent.name == EPOCHS_FOLDER else path.parent
    stored = read_json(folder / CARD_FILE)
    _check_schema(stored, str(folder / CARD_FILE))
    return stored


def read_card(path: Path) -> Card:
    """The card of a model directory, or of the run to which an epoch's file belongs; ModelError if it can't be read."""
    return Card.from_dict(load_card(path))


def write_card(path: Path, stored: dict[str, Any]) -> dict[str, Any]:
    """Write a card into the model directory `path`, whole or not at all; returns what was written."""
    stored = {"schema": SCHEMA} | stored
    stored["schema"] = SCHEMA
    write_json(path / CARD_FILE, stored)
    return stored
