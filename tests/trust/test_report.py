"""What a model's directory tells: computed anew with NumPy, and nothing believed that makes no sense."""

import json

import numpy as np
import pytest
from helpers import full_card, make_answers, write_model

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ModelError
from cifar_model.models.answers import read_answers
from cifar_model.models.card import load_card
from cifar_model.models.layout import ANSWERS_FILE, CARD_FILE, EPOCHS_FOLDER
from cifar_model.text import share
from cifar_model.trust.calibration import calibrate, reliability_bins
from cifar_model.trust.compare import compare
from cifar_model.trust.report import Report, read_report

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 30))


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "whole", LABELS)
    return tmp_path / "whole"


def with_card(folder, change):
    card = load_card(folder)
    change(card)
    (folder / CARD_FILE).write_text(json.dumps(card))
    return read_report(folder)


def test_a_whole_model_is_told_whole(folder):
    report = read_report(folder, "whole")
    raw = read_answers(folder).probabilities
    answers = calibrate(raw, {"temperature": 1.25})
    np.testing.assert_array_equal(report.probabilities, answers)
    right = raw.argmax(1) == LABELS
    assert report.accuracy == pytest.approx(right.mean()) and report.test_pictures == 300
    counts = np.zeros((10, 10), int)
    for truth, answer in zip(LABELS, raw.argmax(1), strict=True):
        counts[truth, answer] += 1
    np.testing.assert_array_equal(report.confusion, counts)
    precision, recall = report.by_class
    for i in range(10):
        assert recall[i] == pytest.approx(right[LABELS == i].mean())
        assert precision[i] == pytest.approx(right[raw.argmax(1) == i].mean())
    assert report.margin == pytest.approx(1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 300))
    np.testing.assert_allclose(report.bins, reliability_bins(LABELS, answers))
    assert list(report.set_levels) == [90, 95, 99]
    assert report.scope.threshold == -1 and report.scope.probes["digits"].auroc == 0.98
    assert report.explanation.drop_marked == 0.41
    assert sum(row["parameters"] for row in report.layers()) == 123_210
    assert report.problems == ()


def test_its_card_in_words(folder):
    said = " ".join(read_report(folder).sentences())
    assert "A seed-cnn with 123,210 weights" in said
    assert "Trained for 3 epochs on 400 images from generated stripes (1 min 1 s, recipe “quick”)." in said
    assert f"It classifies {share(read_report(folder).accuracy)} of 300 unseen test images correctly." in said


@pytest.mark.parametrize(
    "done, passes, words",
    [
        (2, None, "Trained for 2 of 40 epochs on 400 images from generated stripes (1 min"),
        (1, 3, "Trained for 1 of 40 epochs on 400 images from generated stripes, each seen 3 times (1 min"),
        (0, 2, "Trained for less than one of 40 epochs on 400 images from generated stripes (1 min"),
        (40, 2, "Trained for 40 epochs on 400 images from generated stripes, each seen 80 times (1 min"),
        (None, None, "Trained for 40 epochs on 400 images from generated stripes (1 min"),
    ],
)
def test_the_card_of_a_stopped_run_in_words(folder, done, passes, words):
    stored = load_card(folder) | {"epochs": 40, "epochs_done": done, "details": {"passes": passes} if passes else {}}
    (folder / "card.json").write_text(json.dumps(stored))
    assert words in " ".join(read_report(folder).sentences())


def test_what_else_it_learned_from_in_words(folder):
    stored = load_card(folder)
    assert "blends" not in " ".join(read_report(folder).sentences())
    stored["settings"] = stored.get("settings", {}) | {"mixup": 0.5}
    stored["data"]["outliers"] = "7 images of other things from here."
    (folder / "card.json").write_text(json.dumps(stored))
    said = " ".join(read_report(folder).sentences())
    assert "It learned from blends of two images" in said
    assert "It was also shown 7 images of other things from here." in said


def test_mistakes_and_cells_come_surest_first(folder):
    report = read_report(folder)
    wrong = report.mistakes()
    assert set(wrong) == set(np.flatnonzero(report.predicted != LABELS))
    assert (np.diff(report.probabilities[wrong].max(1)) <= 0).all()
    truth, answer = LABELS[wrong[0]], report.predicted[wrong[0]]
    cell = report.cell(truth, answer)
    assert len(cell) == report.confusion[truth, answer] and cell[0] == wrong[0]
    assert (LABELS[cell] == truth).all() and (report.predicted[cell] == answer).all()


def test_where_two_models_disagree(tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        write_model(tmp_path / name, LABELS, seed=seed)
    one, two = (read_report(tmp_path / name) for name in ("one", "two"))
    found = compare(one, two)
    a, b = one.predicted, two.predicted
    assert found.agree == (a == b).sum()
    assert set(found.first_right) == set(np.flatnonzero((a == LABELS) & (b != LABELS)))
    assert set(found.second_right) == set(np.flatnonzero((b == LABELS) & (a != LABELS)))
    assert set(found.both_wrong) == set(np.flatnonzero((a != b) & (a != LABELS) & (b != LABELS)))


def test_models_scored_on_different_pictures_are_not_compared(tmp_path):
    write_model(tmp_path / "one", LABELS)
    write_model(tmp_path / "two", LABELS[::-1].copy())
    assert compare(read_report(tmp_path / "one"), read_report(tmp_path / "two")) is None


def test_without_answers_the_card_is_enough(folder):
    (folder / ANSWERS_FILE).unlink()
    report = read_report(folder)
    assert report.answers is None and report.probabilities is None and report.problems == ()
    assert report.confusion.sum() == 300 and report.bins.shape[1] == 3


def test_an_old_card_leaves_the_new_things_open(folder):
    (folder / ANSWERS_FILE).unlink()
    old = {"name": "old", "network": "seed-cnn", "scores": {"test_accuracy": 0.8}, "calibration": {"temperature": 1.1}}
    (folder / CARD_FILE).write_text(json.dumps(old))
    report = read_report(folder)
    assert report.accuracy == 0.8
    assert (report.confusion, report.by_class, report.bins, report.scope, report.explanation) == (None,) * 5
    assert report.set_levels == {} and report.calibration_error is None


NONSENSE = [None, [], "text", 7, -1, float("nan"), {}, {"x": 1}, [[1, 2], [3]], {"90": []}, [[1e400] * 3], True]


@pytest.mark.parametrize("value", NONSENSE, ids=str)
@pytest.mark.parametrize("key", sorted(full_card("x", LABELS, make_answers(LABELS, 1))))
def test_nonsense_in_a_card_is_left_out(folder, key, value):
    (folder / ANSWERS_FILE).unlink()

    def told(report: Report):
        for name in dir(Report):
            if not name.startswith("_") and name not in ("mistakes", "cell", "score"):
                made = getattr(report, name)
                if callable(made):
                    made()

    told(with_card(folder, lambda card: card.update({key: value})))
    inner = load_card(folder)[key]
    for part in inner if isinstance(inner, dict) else ():
        told(with_card(folder, lambda card, part=part: card[key].update({part: value})))


def test_a_card_that_is_no_json_is_a_problem_in_words(folder):
    (folder / CARD_FILE).write_text("{broken")
    report = read_report(folder)
    assert "card.json can't be read as JSON" in report.problems[0]
    assert report.accuracy == pytest.approx((report.predicted == LABELS).mean())


@pytest.mark.parametrize("kind", ["bytes", "shape", "values", "labels"])
def test_broken_answers_are_a_problem_in_words(folder, kind):
    p = np.full((300, 10), 0.1, np.float32)
    file = folder / ANSWERS_FILE
    if kind == "bytes":
        file.write_bytes(b"PK\x03\x04 broken")
    else:
        if kind == "values":
            p[0] = np.nan
        labels = LABELS + 5 if kind == "labels" else LABELS
        np.savez(file, probabilities=p[:5] if kind == "shape" else p, labels=labels)
    report = read_report(folder)
    assert report.answers is None and ANSWERS_FILE in report.problems[0]
    assert report.confusion is not None  # the card still knows


def test_an_epoch_does_not_borrow_its_runs_scores(folder):
    (folder / EPOCHS_FOLDER).mkdir()
    file = folder / EPOCHS_FOLDER / "epoch-001.keras"
    file.write_bytes(b"no network")
    report = read_report(file, "whole@1")
    assert report.is_epoch and report.accuracy is None and report.confusion is None and report.network == "seed-cnn"


def test_no_such_model():
    with pytest.raises(ModelError, match="No model 'nowhere'"):
        read_report("nowhere")


def test_class_names_of_a_card_are_all_or_nothing(folder):
    (folder / ANSWERS_FILE).unlink()

    def change(card):
        del card["scores"]["confusion"]
        card["scores"]["classes"] = {name: {"precision": 0.5, "recall": None} for name in CLASS_NAMES}

    precision, recall = with_card(folder, change).by_class
    assert (precision == 0.5).all() and np.isnan(recall).all()
