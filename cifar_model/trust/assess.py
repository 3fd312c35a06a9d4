"""How far a network can be trusted: all that its card tells beyond one accuracy, measured when a run ends, or later."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.data.find import find_source
from cifar_model.data.sources import MINI
from cifar_model.data.split import split_by_content
from cifar_model.errors import ModelError
from cifar_model.models.answers import Answers, write_answers
from cifar_model.models.card import load_card
from cifar_model.models.layout import CARD_FILE, SCOPE_FILE
from cifar_model.models.network import load_network
from cifar_model.networks.views import single_view, with_features
from cifar_model.storage import write_json
from cifar_model.trust.answer_sets import LEVELS, answer_sets, evaluate_sets, fit_sets
from cifar_model.trust.calibration import calibrate, expected_calibration_error, fit_calibration, reliability_bins
from cifar_model.trust.metrics import accuracy_score, confusion_matrix, cross_entropy_loss, precision_recall
from cifar_model.trust.outside import outside_pictures
from cifar_model.trust.scope import Scope, fit_scope
from cifar_model.trust.spoil import spoil, vary

if TYPE_CHECKING:
    import keras


EVALUATION_BATCH = 500
SCOPE_IMAGES = 8_000  # training pictures that the out-of-scope score is fitted on
OUTSIDE_IMAGES = 2_000  # generated pictures that show nothing, for the histogram
SCOPE_BINS = 40

Pictures = tuple[np.ndarray, np.ndarray]  # images uint8 (n, 32, 32, 3), labels int64 (n,)


@dataclass(frozen=True)
class Assessment:
    """What `assess` found: parts of the card (`scores`, `confusion`, `calibration`, `sets`, `scope`), and arrays."""

    card: dict
    answers: Answers
    scope: "Scope"

    def save(self, path: Path) -> None:
        """Write answers and scope score into the model directory `path`; the card is the caller's to write."""
        write_answers(
            path, probabilities=self.answers.probabilities, labels=self.answers.labels, scope=self.answers.scope
        )
        self.scope.save(path / SCOPE_FILE)


def outputs(network: "keras.Model", images: np.ndarray, between: Callable[[], None] = lambda: None) -> list[np.ndarray]:
    """What a network answers to uint8 (n, 32, 32, 3), n ≥ 1, one array an output; `between` is called in between."""
    parts = []
    for start in range(0, len(images), EVALUATION_BATCH):
        found = network.predict_on_batch(images[start : start + EVALUATION_BATCH])
        parts.append(found if isinstance(found, list | tuple) else [found])
        between()
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def assess(
    network: "keras.Model",
    *,
    train: Pictures,
    selection: Pictures,
    untouched: Pictures,
    test: Pictures,
    between: Callable[[], None] = lambda: None,
) -> Assessment:
    """Measure how far a network can be trusted.

    Calibration is fitted on `selection`, answer sets and the scope threshold on `untouched`; all is scored on `test`.

    Parameters
    ----------
    network : as it is deployed, from pixels to probabilities
    train : pictures that it learnt from; some thousands evenly among them serve the scope score
    selection : held-out pictures, which may have chosen the epoch
    untouched : other held-out pictures, which took part in no choice: the promise of answer sets rests on that
    test : pictures that it is scored on
    between : called after each batch
    """
    both = with_features(network)
    chosen_by, _ = outputs(both, selection[0], between)
    held, held_features = outputs(both, untouched[0], between)
    raw, features = outputs(both, test[0], between)
    held_labels, labels = untouched[1], test[1]

    calibration = fit_calibration(selection[1], chosen_by)
    answers = calibrate(raw, calibration)
    confusion = confusion_matrix(labels, answers.argmax(axis=1))
    scores = {
        "test_accuracy": float(accuracy_score(labels, answers.argmax(axis=1))),
        "test_loss": float(cross_entropy_loss(labels, answers)),
    }
    if single_view(network) is not network:
        (alone,) = outputs(single_view(network), test[0], between)
        scores["test_accuracy_single_view"] = float(accuracy_score(labels, alone.argmax(axis=1)))
    scores["classes"] = _rounded(_by_class(confusion))

    sets = fit_sets(held_labels, calibrate(held, calibration))
    sets["fitted_on"] = f"{len(held_labels)} held-out training images that chose nothing before"
    for level in LEVELS:
        members = answer_sets(answers, sets, level)
        sets["levels"][str(level)] |= _rounded(evaluate_sets(labels, members))

    scope, scope_scores, scope_card = _fit_scope(both, train, (held, held_features), (raw, features), between)
    card = {
        "scores": scores,
        "confusion": confusion.tolist(),
        "calibration": calibration
        | {
            "fitted_on": f"{len(selection[1])} held-out training images",
            "expected_calibration_error": expected_calibration_error(labels, answers),
            "expected_calibration_error_before": expected_calibration_error(labels, raw),
            "bins": _rounded(reliability_bins(labels, answers).tolist()),
            "bins_before": _rounded(reliability_bins(labels, raw).tolist()),
        },
        "sets": sets,
        "scope": scope_card,
    }
    return Assessment(card, Answers(raw, labels, scope_scores), scope)


def _by_class(confusion: np.ndarray) -> dict[str, dict[str, float | None]]:
    precision, recall = precision_recall(confusion)
    called, shown = confusion.sum(axis=0), confusion.sum(axis=1)
    return {
        name: {
            "precision": float(precision[i]) if called[i] else None,
            "recall": float(recall[i]) if shown[i] else None,
        }
        for i, name in enumerate(CLASS_NAMES)
    }


def _fit_scope(both, train: Pictures, held: tuple, test: tuple, between) -> tuple["Scope", np.ndarray, dict]:
    some = _evenly(len(train[0]))
    probabilities, features = outputs(both, vary(train[0][some]), between)
    spoilt_probabilities, spoilt_features = outputs(both, spoil(train[0][some]), between)
    scope = fit_scope(
        features,
        train[1][some],
        probabilities,
        held[1],
        held[0],
        spoilt_features=spoilt_features,
        spoilt_probabilities=spoilt_probabilities,
    )
    on_test = scope.score(test[1], test[0])
    probabilities, features = outputs(both, outside_pictures(OUTSIDE_IMAGES, seed=0), between)
    outside = scope.score(features, probabilities)
    # A few far-out scores would squeeze all others into one bar: they count in the first and last.
    low, high = np.quantile(np.concatenate([on_test, outside]), (0.002, 0.998))
    edges = np.linspace(low, max(high, low + 1e-6), SCOPE_BINS + 1)
    counts = [np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0].tolist() for scores in (on_test, outside)]
    card = {
        "method": scope.method,
        "threshold": float(scope.threshold),
        "fitted_on": f"{len(some)} training images; threshold on {len(held[0])} held-out ones",
        "false_alarms": float((on_test < scope.threshold).mean()),
        "histogram": {"edges": _rounded(edges.tolist()), "test": counts[0], "outside": counts[1]},
    }
    return scope, on_test, card


def _evenly(n: int) -> np.ndarray:
    """Indexes of at most SCOPE_IMAGES of n pictures."""
    return np.unique(np.linspace(0, n - 1, min(SCOPE_IMAGES, n)).astype(int))


def _rounded(value):
    """Six digits are plenty on a card that people read."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else float(f"{value:.6g}")


def assess_again(path: Path, data: str | None = None, between: Callable[[], None] = lambda: None) -> dict:
    """Measure a finished model once more, and write card, answers and scope score into its directory.

    The pictures held out from its training are found by the settings in its card. What a benchmark added to the card
    stays, but for probes of another scope score.

    Parameters
    ----------
    path : a model directory
    data : CIFAR-10's folder or archive; None: wherever it is found

    Returns
    -------
    dict
        The card as it was written.

    Raises
    ------
    ModelError
        One epoch of a run, a card without settings, or a model that learnt from distilled pictures.
    LabError
        No data, or a directory that can't be written to.
    """
    if not path.is_dir():
        raise ModelError(f"{path} is one epoch of a run. Only a whole run, or a folder with a card, can be measured.")
    card = load_card(path)
    try:
        settings = card["settings"]
        validation, fraction = float(settings["validation"]), float(settings["fraction"])
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"The card in {path} doesn't tell which pictures were held out from training, so they can't be found."
        ) from None
    if settings.get("data") == MINI:
        raise ModelError(
            f"The model {path.name} learnt from distilled pictures: none of real ones was held out to fit on."
        )
    (images, labels), test = load_cifar10(data)
    split = split_by_content(images, validation, fraction)
    rest = split.train[_evenly(len(split.train))]
    found = assess(
        load_network(path),
        train=(images[rest], labels[rest]),
        selection=(images[split.selection], labels[split.selection]),
        untouched=(images[split.untouched], labels[split.untouched]),
        test=test,
        between=between,
    )
    probes = card.get("scope", {}).get("probes")
    same_scope = np.isclose(card.get("scope", {}).get("threshold", np.nan), found.card["scope"]["threshold"])
    scores = {**card.get("scores", {}), **found.card["scores"]}
    card |= found.card | {"scores": scores}
    if probes and same_scope:
        card["scope"]["probes"] = probes
    card["assessed"] = {
        "source": find_source(data).title,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    found.save(path)
    write_json(path / CARD_FILE, card)
    return card
