"""What a model's directory tells about it: its card and its answers on the test pictures, checked and in words.

Cards come from runs of any age and may have been edited by hand, so nothing in one is believed before it is checked:
what is missing or makes no sense is None here. Needs neither TensorFlow nor pandas.
"""

import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError, ModelError, SettingsError
from cifar_model.models.answers import Answers, read_answers
from cifar_model.models.card import load_card
from cifar_model.models.folder import find_model
from cifar_model.models.layout import ANSWERS_FILE
from cifar_model.networks.choices import NETWORKS, RECIPES
from cifar_model.networks.size import layer_table
from cifar_model.text import duration, share
from cifar_model.trust.calibration import calibrate, reliability_bins
from cifar_model.trust.metrics import accuracy_score, confusion_matrix


@dataclass(frozen=True)
class SetLevel:
    """Answer sets at one level, measured on the test pictures.

    level : per cent asked for; coverage : 0–1, share of sets that hold the truth; mean_size : classes in a set;
    classes : mean size by true class
    """

    level: int
    coverage: float | None
    mean_size: float | None
    classes: dict[str, float]


@dataclass(frozen=True)
class ScopeReport:
    """The score that tells pictures of the ten classes from others (higher = more like them).

    edges : float (k+1,); test, outside : float (k,) counts of test pictures and of pictures that show nothing;
    threshold : below it a picture is called out of scope; false_alarms : share of test pictures below it;
    probes : other kinds of picture → their figures
    """

    edges: np.ndarray
    test: np.ndarray
    outside: np.ndarray
    threshold: float
    false_alarms: float | None
    method: str
    fitted_on: str
    probes: dict[str, dict]


@dataclass(frozen=True)
class Report:
    """A model's card and test answers, checked. Whatever isn't known is None.

    name : of the model; path : its directory, or the file of one epoch; card : as it is in the file, or empty
    problems : files that are there and can't be read, in words
    answers : the network's own softmax on the test pictures and their labels
    """

    name: str
    path: Path
    card: dict = field(repr=False)
    problems: tuple[str, ...] = ()
    answers: Answers | None = field(default=None, repr=False)

    @property
    def is_epoch(self) -> bool:
        """Whether this is one epoch of a run: the run's card then speaks of another network, its best epoch."""
        return self.path.suffix == ".keras"

    @property
    def _measured(self) -> dict:
        return {} if self.is_epoch else self.card

    def score(self, name: str) -> float | None:
        """A share of right answers (0–1) from the card, say `test_accuracy`."""
        return _number(_dict(self._measured.get("scores")).get(name), 0, 1)

    @cached_property
    def accuracy(self) -> float | None:
        """Share of right answers on the test pictures, 0–1."""
        if (known := self.score("test_accuracy")) is not None:
            return known
        if self.answers is None or self.predicted is None:
            return None
        return accuracy_score(self.answers.labels, self.predicted)

    @cached_property
    def test_pictures(self) -> int | None:
        """How many test pictures it was scored on."""
        if self.answers is not None:
            return len(self.answers.labels)
        return _whole(_dict(self._measured.get("data")).get("test"))

    @cached_property
    def margin(self) -> float | None:
        """Half the width of the 95 % interval around `accuracy`: what other test pictures would have changed."""
        if self.accuracy is None or not self.test_pictures:
            return None
        return 1.96 * math.sqrt(self.accuracy * (1 - self.accuracy) / self.test_pictures)

    @cached_property
    def calibration(self) -> dict[str, float]:
        """What `calibration.calibrate` needs: temperature and power; {} where none was fitted."""
        fitted = _dict(self._measured.get("calibration"))
        temperature = _number(fitted.get("temperature"), 0.001, 1000)
        power = _number(fitted.get("power", 0.0), -10, 10)
        return {} if temperature is None or power is None else {"temperature": temperature, "power": power}

    @cached_property
    def probabilities(self) -> np.ndarray | None:
        """Its answers on the test pictures as it gives them, calibrated: float32 (n, 10)."""
        if self.answers is None:
            return None
        return calibrate(self.answers.probabilities, self.calibration)

    @cached_property
    def predicted(self) -> np.ndarray | None:
        """Its most probable class of each test picture: int64 (n,)."""
        return None if self.answers is None else self.answers.probabilities.argmax(axis=1)

    @cached_property
    def confusion(self) -> np.ndarray | None:
        """Counts int64 (10, 10), rows = truth, columns = answer."""
        if self.answers is not None and self.predicted is not None:
            return confusion_matrix(self.answers.labels, self.predicted)
        for place in (self._measured, _dict(self._measured.get("scores"))):
            counts = _array(place.get("confusion"), (10, 10))
            if counts is not None and counts.min() >= 0 and (counts % 1 == 0).all() and counts.sum() > 0:
                return counts.astype(np.int64)
        return None

    @cached_property
    def by_class(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Precision and recall by class, float (10,) each, 0–1, nan where there was nothing to measure."""
        if self.confusion is not None:
            counts = self.confusion
            with np.errstate(invalid="ignore"):
                return np.diag(counts) / counts.sum(axis=0), np.diag(counts) / counts.sum(axis=1)
        classes = _dict(_dict(self._measured.get("scores")).get("classes"))
        if not set(CLASS_NAMES) <= set(classes):
            return None
        rows = [[_number(_dict(classes[c]).get(what), 0, 1) for c in CLASS_NAMES] for what in ("precision", "recall")]
        precision, recall = np.array(rows, float)
        return precision, recall

    def mistakes(self) -> np.ndarray:
        """Test pictures that it gets wrong, the surest first: int (k,); none where its answers weren't kept."""
        if self.answers is None or self.probabilities is None:
            return np.empty(0, int)
        wrong = np.flatnonzero(self.predicted != self.answers.labels)
        return wrong[np.argsort(-self.probabilities[wrong].max(axis=1), kind="stable")]

    def cell(self, truth: int, answer: int) -> np.ndarray:
        """Test pictures of class `truth` that it takes for `answer`, the surest first: int (k,), as `mistakes`."""
        if self.answers is None or self.probabilities is None:
            return np.empty(0, int)
        inside = np.flatnonzero((self.answers.labels == truth) & (self.predicted == answer))
        return inside[np.argsort(-self.probabilities[inside].max(axis=1), kind="stable")]

    @cached_property
    def bins(self) -> np.ndarray | None:
        """Reliability of its percentages, float (k, 3): mean confidence, accuracy, number of pictures."""
        return self._bins("bins", self.probabilities)

    @cached_property
    def bins_before(self) -> np.ndarray | None:
        """The same without calibration."""
        return self._bins("bins_before", None if self.answers is None else self.answers.probabilities)

    def _bins(self, name: str, probabilities: np.ndarray | None) -> np.ndarray | None:
        kept = _array(_dict(self._measured.get("calibration")).get(name), (None, 3))
        if kept is not None and kept.min() >= 0 and kept[:, :2].max() <= 1 and kept[:, 2].sum() > 0:
            return kept
        if probabilities is None or self.answers is None:
            return None
        return reliability_bins(self.answers.labels, probabilities)

    @cached_property
    def calibration_error(self) -> float | None:
        """Mean gap between its percentages and how often they hold, 0–1, on the test pictures."""
        return self._error("expected_calibration_error", self.bins)

    @cached_property
    def calibration_error_before(self) -> float | None:
        """The same without calibration."""
        return self._error("expected_calibration_error_before", self.bins_before)

    def _error(self, name: str, bins: np.ndarray | None) -> float | None:
        known = _number(_dict(self._measured.get("calibration")).get(name), 0, 1)
        if known is not None or bins is None:
            return known
        return float((np.abs(bins[:, 0] - bins[:, 1]) * bins[:, 2]).sum() / bins[:, 2].sum())

    @cached_property
    def set_levels(self) -> list[SetLevel]:
        """Answer sets at each level; empty where none were measured."""
        levels = []
        for level, found in _dict(_dict(self._measured.get("sets")).get("levels")).items():
            found = _dict(found)
            coverage, size = _number(found.get("coverage"), 0, 1), _number(found.get("mean_size"), 0, 10)
            sizes = {c: _number(_dict(found.get("classes")).get(c), 0, 10) for c in CLASS_NAMES}
            if str(level).isdigit() and (coverage is not None or size is not None):
                sizes = {c: size for c, size in sizes.items() if size is not None}
                levels.append(SetLevel(int(level), coverage, size, sizes))
        return sorted(levels, key=lambda level: level.level)

    @cached_property
    def scope(self) -> ScopeReport | None:
        """The out-of-scope score; None where the model has none."""
        found = _dict(self._measured.get("scope"))
        histogram = _dict(found.get("histogram"))
        edges, threshold = _array(histogram.get("edges"), (None,)), _number(found.get("threshold"))
        if edges is None or len(edges) < 2 or threshold is None or (np.diff(edges) <= 0).any():
            return None
        test, outside = (_array(histogram.get(name), (len(edges) - 1,)) for name in ("test", "outside"))
        if test is None or outside is None or test.min() < 0 or outside.min() < 0:
            return None
        probes = {str(name): _dict(probe) for name, probe in _dict(found.get("probes")).items()}
        alarms = _number(found.get("false_alarms"), 0, 1)
        method, fitted_on = (_text(found.get(key)) for key in ("method", "fitted_on"))
        return ScopeReport(edges, test, outside, threshold, alarms, method, fitted_on, probes)

    @cached_property
    def explanation(self) -> dict[str, float] | None:
        """How faithful its explanations are: images, and drop_marked and drop_random (0–1), the probability lost."""
        found = _dict(self._measured.get("explanation"))
        names = ("images", "drop_marked", "drop_random")
        values = {name: value for name in names if (value := _number(found.get(name))) is not None}
        return values if len(values) == len(names) else None

    @cached_property
    def settings(self) -> dict:
        """The settings that it was trained with."""
        return _dict(self.card.get("settings"))

    @property
    def is_distilled(self) -> bool:
        """Whether it learned from the synthetic pictures that ship with the project, which have no test part."""
        return _text(_dict(self.card.get("data")).get("source")).startswith("distilled")

    @cached_property
    def network(self) -> str:
        """The architecture's name, "" where the card has none."""
        return _text(self.card.get("network"))

    def layers(self) -> list[dict] | None:
        """Its layers as `size.layer_table`; None where the card names no architecture of this lab."""
        try:
            if self.network != "custom":
                return layer_table(self.network)
            filters, dense = self.settings.get("filters"), _whole(self.settings.get("dense"))
            if not isinstance(filters, list) or not all(_whole(f) for f in filters) or not dense:
                return None
            return layer_table(self.network, filters=tuple(filters), dense=dense)
        except SettingsError:
            return None

    def sentences(self) -> list[str]:
        """The card in plain words."""
        card, data = self.card, _dict(self.card.get("data"))
        said = []
        parameters = _whole(card.get("parameters"))
        if self.network:
            about = NETWORKS.get(self.network, "").rstrip(".")
            weights = f" with {parameters:,} weights" if parameters else ""
            said.append(f"A {self.network}{weights}" + (f" ({about[0].lower() + about[1:]})." if about else "."))
        pictures, epochs = _whole(data.get("train")), _whole(card.get("epochs"))
        source = _text(data.get("source"))
        if pictures and epochs:
            if self.is_distilled:
                text = f"It learned from {pictures:,} distilled pictures: synthetic ones, made from CIFAR-10's"
            else:
                text = f"It learned from {pictures:,} pictures" + (f" of {source}" if source else "")
            text += f", each seen {epochs} time{'' if epochs == 1 else 's'}"
            seconds = _number(card.get("seconds"), 0)
            text += f", in {duration(seconds)}" if seconds else ""
            recipe = _text(card.get("recipe"))
            text += f", by the recipe “{recipe}”" if recipe in RECIPES else ""
            said.append(text + ".")
        start = _text(_dict(card.get("start_from")).get("name"))
        if start:
            before = _whole(_dict(card.get("start_from")).get("epochs"))
            said.append(f"It began with the weights of {start}" + (f" (after {before} epochs)." if before else "."))
        if card.get("averaging") == "mirror":
            said.append("It looks at each picture and at its mirror image, and answers the mean of both.")
        if self.accuracy is not None and self.test_pictures:
            # Half up, so that 8.5 of 10 is told as 9.
            of_ten = math.floor(10 * self.accuracy + 0.5)
            said.append(
                f"Of {self.test_pictures:,} test pictures that it had never seen, it names {share(self.accuracy)} "
                f"rightly: about {of_ten} of 10. Guessing would get 1 of 10."
            )
        return said


def read_report(model: str | os.PathLike, name: str | None = None) -> Report:
    """The report of a model.

    Parameters
    ----------
    model : its name, or the path of its directory or of an epoch's file
    name : what to call it, by default what it was found by

    Raises
    ------
    ModelError
        There is no such model. Files of it that can't be read are told in `Report.problems` instead.
    """
    path = find_model(model)
    problems = []
    try:
        card = load_card(path)
    except ModelError as error:
        card = {}
        problems.append(str(error))
    answers = None
    try:
        answers = read_answers(path) if path.is_dir() else None
        if answers is not None:
            _check(answers, path)
    except LabError as error:
        answers = None
        problems.append(str(error))
    return Report(name or os.fspath(model), path, card, tuple(problems), answers)


def _check(answers: Answers, path: Path) -> None:
    p, labels = answers.probabilities, answers.labels
    sums = p.sum(axis=1) if p.dtype.kind == "f" and len(p) else np.zeros(1)
    good = np.isfinite(p).all() and p.min(initial=0) >= 0 and np.abs(sums - 1).max() < 0.01
    if not good or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise ModelError(
            f"{path / ANSWERS_FILE} holds numbers that are no probabilities or no classes. "
            "Delete it; `python -m cifar_model assess` writes it again."
        )


def _dict(value) -> dict:
    return value if isinstance(value, dict) else {}


def _text(value) -> str:
    return value if isinstance(value, str) else ""


def _number(value, low: float = -math.inf, high: float = math.inf) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if low <= value <= high else None


def _whole(value) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _array(value, shape: tuple[int | None, ...]) -> np.ndarray | None:
    """Nested lists of finite numbers as float64 of this shape (None: any length above 0), or None."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    return array if fits and array.size and np.isfinite(array).all() else None
