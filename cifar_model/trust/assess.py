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
from cifar_model.data.split import fingerprints, split_at
from cifar_model.errors import ModelError
from cifar_model.models.answers import StoredAnswers, write_answers
from cifar_model.models.card import read_card, write_card
from cifar_model.models.network import load_network
from cifar_model.networks.views import single_view
from cifar_model.trust.answer_sets import LEVELS, answer_sets, evaluate_sets, fit_sets
from cifar_model.trust.calibration import calibrate, expected_calibration_error, fit_calibration, reliability_bins
from cifar_model.trust.metrics import accuracy_score, confusion_matrix, cross_entropy_loss, precision_recall
from cifar_model.trust.mixes import mix_scores
from cifar_model.trust.outside import outside_pictures
from cifar_model.trust.scope import METHOD, fit_threshold, scope_score

if TYPE_CHECKING:
    import keras


EVALUATION_BATCH = 500
OUTSIDE_IMAGES = 2_000  # generated pictures that show nothing, for the histogram; no more than test images
SCOPE_BINS = 40
FEWEST_HELD_OUT = 100  # images that a network has not seen, to measure it again

Pictures = tuple[np.ndarray, np.ndarray]  # images uint8 (n, 32, 32, 3), labels int64 (n,)


@dataclass(frozen=True)
class Assessment:
    """What `assess` found: parts of the card (`scores`, `confusion`, `calibration`, `sets`, `scope`, `mixes`)."""

    card: dict
    answers: StoredAnswers

    def save(self, path: Path) -> None:
        """Write the answers into the model directory `path`; the card is the caller's to write."""
        write_answers(path, **vars(self.answers))


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
    selection: Pictures,
    untouched: Pictures,
    test: Pictures,
    between: Callable[[], None] = lambda: None,
) -> Assessment:
    """Measure how far a network can be trusted.

    Calibration is fitted on `selection`, answer sets and the scope threshold on `untouched`; all is scored on `test`,
    from whose images also the mixes are made.

    Parameters
    ----------
    network : as it is deployed, from pixels to probabilities
    selection : held-out images, which may have chosen the epoch
    untouched : other held-out images, which took part in no choice: the promise of answer sets rests on that
    test : pictures that it is scored on
    between : called after each batch
    """
    chosen_by, held, raw, nothing = (
        outputs(network, images, between)[0]
        for images in (selection[0], untouched[0], test[0], outside_pictures(min(OUTSIDE_IMAGES, len(test[1])), seed=0))
    )
    held_labels, labels = untouched[1], test[1]

    calibration = fit_calibration(selection[1], chosen_by)
    held_raw, held, answers = held, calibrate(held, calibration), calibrate(raw, calibration)
    scores, confusion = test_scores(labels, answers)
    if single_view(network) is not network:
        (alone,) = outputs(single_view(network), test[0], between)
        scores["test_accuracy_single_view"] = float(accuracy_score(labels, alone.argmax(axis=1)))

    sets = fit_sets(held_labels, held)
    sets["fitted_on"] = f"{len(held_labels)} held-out training images that took part in no choice"
    for level in LEVELS:
        members = answer_sets(answers, sets, level)
        sets["levels"][str(level)] |= _rounded(evaluate_sets(labels, members))

    def believed(images: np.ndarray) -> np.ndarray:
        return calibrate(outputs(network, images, between)[0], calibration)

    card = {
        "scores": scores,
        "confusion": confusion,
        "calibration": calibration
        | {
            "fitted_on": f"{len(selection[1])} held-out training images",
            "expected_calibration_error": expected_calibration_error(labels, answers),
            "expected_calibration_error_before": expected_calibration_error(labels, raw),
            "bins": _rounded(reliability_bins(labels, answers).tolist()),
            "bins_before": _rounded(reliability_bins(labels, raw).tolist()),
        },
        "sets": sets,
        "scope": _scope_card(held_raw, raw, nothing),
    }
    if len(np.unique(labels)) > 1:
        card["mixes"] = _rounded(mix_scores(believed, *test))
    return Assessment(card, StoredAnswers(raw, labels, fingerprints=fingerprints(test[0])))


def test_scores(labels: np.ndarray, answers: np.ndarray) -> tuple[dict, list[list[int]]]:
    """A card's scores on the test images, and its confusion matrix; labels int (n,), answers float (n, 10)."""
    confusion = confusion_matrix(labels, answers.argmax(axis=1))
    scores = {
        "test_accuracy": float(accuracy_score(labels, answers.argmax(axis=1))),
        "test_loss": float(cross_entropy_loss(labels, answers)),
        "classes": scores_by_class(confusion),
    }
    return scores, confusion.tolist()


def scores_by_class(confusion: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Precision and recall of each class, for a card; None where nothing was called so, or nothing is one."""
    precision, recall = precision_recall(confusion)
    called, shown = confusion.sum(axis=0), confusion.sum(axis=1)
    found = {
        name: {
            "precision": float(precision[i]) if called[i] else None,
            "recall": float(recall[i]) if shown[i] else None,
        }
        for i, name in enumerate(CLASS_NAMES)
    }
    return _rounded(found)


def _scope_card(held: np.ndarray, test: np.ndarray, outside: np.ndarray) -> dict:
    """The card's part on scope, from the network's own answers (n, 10) to held-out, test and generated pictures."""
    threshold = fit_threshold(held)
    on_test, on_outside = scope_score(test), scope_score(outside)
    edges = np.histogram_bin_edges(np.concatenate([on_test, on_outside]), SCOPE_BINS)
    counts = [np.histogram(scores, edges)[0].tolist() for scores in (on_test, on_outside)]
    return {
        "method": METHOD,
        "threshold": threshold,
        "fitted_on": f"{len(held)} held-out training images that took part in no choice",
        "false_alarms": float((on_test < threshold).mean()),
        "histogram": {"edges": _rounded(edges.tolist()), "test": counts[0], "outside": counts[1]},
    }


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
    """Measure a finished model once more, and write card and answers into its directory.

    The images held out from its training are known by their content, whatever copy of CIFAR-10 is at hand. What a
    benchmark added to the card stays, but for probes of another scope score.

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
        One epoch of a run, a card that doesn't tell what was held out, or images that the network was trained on.
    LabError
        No data, or a directory that can't be written to.
    """
    if not path.is_dir():
        raise ModelError(f"{path} is one epoch of a run. Only a whole run, or a folder with a card, can be measured.")
    card = read_card(path)
    if card.settings.get("data") == MINI:
        raise ModelError(
            f"The model {path.name} was trained on distilled images: no real ones were held out to fit on."
        )
    boundary = card.data.held_out_up_to
    if boundary is None:
        raise ModelError(
            f"The card in {path} doesn't say which images were held out from training, so the model may have seen any "
            "of them: what is fitted on memorised images promises too much. Train it again to have it measured."
        )
    (images, labels), test = load_cifar10(data)
    split = split_at(images, boundary)
    if len(split.held_out) < FEWEST_HELD_OUT:
        raise ModelError(
            f"Of the {len(images):,} training images here, {len(split.held_out):,} were held out from the training of "
            f"{path.name}; at least {FEWEST_HELD_OUT} are needed. Give all of CIFAR-10 with --data."
        )
    found = assess(
        load_network(path),
        selection=(images[split.selection], labels[split.selection]),
        untouched=(images[split.untouched], labels[split.untouched]),
        test=test,
        between=between,
    )
    before, stored = card.scope, dict(card.stored)
    scores = stored["scores"] if isinstance(stored.get("scores"), dict) else {}
    stored |= found.card | {"scores": scores | found.card["scores"]}
    same_scope = before is not None and before.method == METHOD and before.threshold is not None
    if same_scope and before.probes and np.isclose(before.threshold, found.card["scope"]["threshold"]):
        stored["scope"]["probes"] = card.stored["scope"]["probes"]
    stored["assessed"] = {
        "source": find_source(data).title,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    found.save(path)
    return write_card(path, stored)
