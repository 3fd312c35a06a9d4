"""What a model's directory tells about it: its card and its answers on the test images, checked and in words.

What is missing or makes no sense is None here. Needs neither TensorFlow nor pandas.
"""

import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError, ModelError, SettingsError
from cifar_model.models.answers import StoredAnswers, read_answers
from cifar_model.models.card import Card, Explanation, Mixes, Scope, SetLevel, read_card
from cifar_model.models.folder import find_model
from cifar_model.models.layout import ANSWERS_FILE
from cifar_model.networks.choices import NETWORKS, RECIPES
from cifar_model.networks.size import layer_table
from cifar_model.text import duration, share
from cifar_model.trust.calibration import calibrate, mean_gap, reliability_bins
from cifar_model.trust.metrics import accuracy_score, confusion_matrix

PER_CLASS = ("precision", "recall")


@dataclass(frozen=True)
class Report:
    """A model's card and test answers, checked. Whatever isn't known is None.

    name : of the model; path : its directory, or the file of one epoch; card : empty where there is none
    problems : what can't be read or makes no sense, in words
    answers : the network's own softmax on the test images and their labels
    """

    name: str
    path: Path
    card: Card = field(repr=False)
    problems: tuple[str, ...] = ()
    answers: StoredAnswers | None = field(default=None, repr=False)

    @property
    def is_epoch(self) -> bool:
        """Whether this is one epoch of a run: the run's card then speaks of another network, its best epoch."""
        return self.path.suffix == ".keras"

    @property
    def _measured(self) -> Card:
        return Card() if self.is_epoch else self.card

    def score(self, name: str) -> float | None:
        """A share of right answers (0–1) from the card, say `test_accuracy`."""
        return getattr(self._measured.scores, name)

    @cached_property
    def accuracy(self) -> float | None:
        """Share of right answers on the test images, 0–1."""
        if (known := self.score("test_accuracy")) is not None:
            return known
        if self.answers is None or self.predicted is None:
            return None
        return accuracy_score(self.answers.labels, self.predicted)

    @cached_property
    def test_pictures(self) -> int | None:
        """How many test images it was scored on."""
        if self.answers is not None:
            return len(self.answers.labels)
        return self._measured.data.test

    @cached_property
    def margin(self) -> float | None:
        """Half the width of the 95 % interval around `accuracy`: what other test images would have changed."""
        if self.accuracy is None or not self.test_pictures:
            return None
        return 1.96 * math.sqrt(self.accuracy * (1 - self.accuracy) / self.test_pictures)

    @cached_property
    def calibration(self) -> dict[str, float]:
        """What `calibration.calibrate` needs: temperature and even share; {} where none was fitted."""
        return self._measured.correction

    @cached_property
    def probabilities(self) -> np.ndarray | None:
        """Its answers on the test images as it gives them, calibrated: float32 (n, 10)."""
        if self.answers is None:
            return None
        return calibrate(self.answers.probabilities, self.calibration)

    @cached_property
    def predicted(self) -> np.ndarray | None:
        """Its most probable class of each test image: int64 (n,)."""
        return None if self.answers is None else self.answers.probabilities.argmax(axis=1)

    @cached_property
    def confusion(self) -> np.ndarray | None:
        """Counts int64 (10, 10), rows = truth, columns = answer."""
        if self.answers is not None and self.predicted is not None:
            return confusion_matrix(self.answers.labels, self.predicted)
        kept = self._measured.confusion
        return self._measured.scores.confusion if kept is None else kept

    @cached_property
    def by_class(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Precision and recall by class, float (10,) each, 0–1, nan where there was nothing to measure."""
        if self.confusion is not None:
            counts = self.confusion
            with np.errstate(invalid="ignore"):
                return np.diag(counts) / counts.sum(axis=0), np.diag(counts) / counts.sum(axis=1)
        classes = self._measured.scores.classes
        if not set(CLASS_NAMES) <= set(classes):
            return None
        precision, recall = (np.array([getattr(classes[c], what) for c in CLASS_NAMES], float) for what in PER_CLASS)
        return precision, recall

    def mistakes(self) -> np.ndarray:
        """Test images that it gets wrong, the surest first: int (k,); none where its answers weren't kept."""
        if self.answers is None or self.probabilities is None:
            return np.empty(0, int)
        wrong = np.flatnonzero(self.predicted != self.answers.labels)
        return wrong[np.argsort(-self.probabilities[wrong].max(axis=1), kind="stable")]

    def cell(self, truth: int, answer: int) -> np.ndarray:
        """Test images of class `truth` that it takes for `answer`, the surest first: int (k,), as `mistakes`."""
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
        kept = getattr(self._measured.calibration, name, None)
        if kept is not None:
            return kept
        if probabilities is None or self.answers is None:
            return None
        return reliability_bins(self.answers.labels, probabilities)

    @cached_property
    def calibration_error(self) -> float | None:
        """Mean gap between its percentages and how often they hold, 0–1, on the test images."""
        return self._error("expected_calibration_error", self.bins)

    @cached_property
    def calibration_error_before(self) -> float | None:
        """The same without calibration."""
        return self._error("expected_calibration_error_before", self.bins_before)

    def _error(self, name: str, bins: np.ndarray | None) -> float | None:
        known = getattr(self._measured.calibration, name, None)
        return known if known is not None or bins is None else mean_gap(bins)

    @cached_property
    def set_levels(self) -> dict[int, SetLevel]:
        """How answer sets did at each level in per cent; empty where none were measured."""
        levels = {} if self._measured.sets is None else self._measured.sets.levels
        measured = ((n, one) for n, one in levels.items() if (one.coverage, one.mean_size) != (None, None))
        return dict(measured)

    @cached_property
    def scope(self) -> Scope | None:
        """The out-of-scope score with its histogram; None where the model has none."""
        found = self._measured.scope
        return None if found is None or found.threshold is None or found.histogram is None else found

    @cached_property
    def explanation(self) -> Explanation | None:
        """How faithful its explanations are; None where that was not measured."""
        found = self._measured.explanation
        return None if found is None or None in (found.images, found.drop_marked, found.drop_elsewhere) else found

    @cached_property
    def mixes(self) -> Mixes | None:
        """How well it reads blends; None where that was not measured."""
        found = self._measured.mixes
        known = found is not None and None not in (found.pairs, found.share_error, found.parents_mass, found.top_two)
        return found if known else None

    @cached_property
    def settings(self) -> dict:
        """The settings that it was trained with."""
        return self.card.settings

    @property
    def is_distilled(self) -> bool:
        """Whether it learned from the synthetic pictures that ship with the project, which have no test part."""
        return self.card.data.source.startswith("distilled")

    @property
    def is_imported(self) -> bool:
        """Whether somebody brought it in: which images it learned from isn't known."""
        return self.card.imported is not None

    @cached_property
    def network(self) -> str:
        """The architecture's name, "" where the card has none."""
        return self.card.network

    def layers(self) -> list[dict] | None:
        """Its layers as `size.layer_table`; None where the card names no architecture of this lab."""
        try:
            if self.network != "custom":
                return layer_table(self.network)
            filters, dense = self.settings.get("filters"), self.settings.get("dense")
            if not isinstance(filters, list) or not _is_width(dense) or not all(map(_is_width, filters)):
                return None
            return layer_table(self.network, filters=tuple(filters), dense=dense)
        except SettingsError:
            return None

    def sentences(self) -> list[str]:
        """The card in plain words."""
        card, data = self.card, self.card.data
        said = []
        parameters = card.parameters
        if (brought := card.imported) is not None:
            weights = f" with {parameters:,} weights" if parameters else ""
            said.append(f"A network{weights}, imported from “{brought.file}” ({brought.format}).")
            said += brought.notes
        elif self.network:
            about = NETWORKS.get(self.network, "").rstrip(".")
            weights = f" with {parameters:,} weights" if parameters else ""
            said.append(f"A {self.network}{weights}" + (f" ({about[0].lower() + about[1:]})." if about else "."))
        pictures, epochs, source = data.train, card.epochs, data.source
        if pictures and epochs:
            done = epochs if card.epochs_done is None else card.epochs_done
            passes = card.details.get("passes")
            passes = passes if _is_width(passes) else 1
            part = "" if done >= epochs else f"{done or 'less than one'} of "  # it was stopped, or ended early
            text = f"Trained for {part}{epochs} epoch{'' if epochs == 1 else 's'} on {pictures:,} "
            if self.is_distilled:
                text += "distilled images (synthetic ones, made from CIFAR-10)"
            else:
                text += "images" + (f" from {source}" if source else "")
            text += f", each seen {done * passes} times" if done and passes > 1 else ""
            known = [duration(card.seconds)] if card.seconds else []
            known += [f"recipe “{card.recipe}”"] if card.recipe in RECIPES else []
            said.append(text + (f" ({', '.join(known)})." if known else "."))
        start = card.start_from
        if start is not None and start.name:
            before = f" (after {start.epochs} epochs)" if start.epochs else ""
            said.append(f"It started from the weights of {start.name}{before}.")
        if card.learned_blends:
            said.append("It learned from blends of two images, with their shares as the targets (mixup).")
        if isinstance(data.outliers, str):
            said.append(f"It was also shown {data.outliers}")
        if card.averaging == "mirror":
            said.append("Its answer is the mean over an image and its mirror image.")
        if self.accuracy is not None and self.test_pictures:
            kind = "test" if self.is_imported else "unseen test"
            doubt = " If it was trained on them, that says little." if self.is_imported else ""
            said.append(
                f"It classifies {share(self.accuracy)} of {self.test_pictures:,} {kind} images correctly. "
                f"Guessing would get 10 %.{doubt}"
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
        card = read_card(path)
        problems += card.problems
    except ModelError as error:
        card = Card()
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


def _check(answers: StoredAnswers, path: Path) -> None:
    p, labels = answers.probabilities, answers.labels
    sums = p.sum(axis=1) if p.dtype.kind == "f" and len(p) else np.zeros(1)
    good = np.isfinite(p).all() and p.min(initial=0) >= 0 and np.abs(sums - 1).max() < 0.01
    if not good or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise ModelError(
            f"{path / ANSWERS_FILE} holds numbers that are not probabilities or not classes. "
            "Delete it: `python -m cifar_model assess` writes it again."
        )


def _is_width(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
