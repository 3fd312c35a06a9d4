"""What a card tells beyond one accuracy: written when a run ends, measured again, told on the command line."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import encode

from cifar_model.__main__ import main
from cifar_model.answering.classifier import Classifier
from cifar_model.answering.files import classify_files
from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.data.split import fingerprints
from cifar_model.errors import ModelError, SettingsError
from cifar_model.models.answers import read_answers, write_answers
from cifar_model.models.card import load_card
from cifar_model.models.network import load_network
from cifar_model.networks.views import mirror_average, with_features
from cifar_model.training.settings import Settings
from cifar_model.training.train import train
from cifar_model.trust.answer_sets import LEVELS
from cifar_model.trust.calibration import calibrate
from cifar_model.trust.metrics import confusion_matrix
from cifar_model.trust.scope import scope_score


@pytest.fixture(scope="module")
def run(tiny_cifar10, tmp_path_factory):
    """A finished run of a small network that has learnt most of the stripes."""
    path = tmp_path_factory.mktemp("runs") / "small"
    train(
        Settings(
            network="custom", filters=(16, 16), dense=16, recipe="quick", epochs=6, batch_size=20,
            data=str(tiny_cifar10), precision="float32", validation=0.3,
        ),
        path,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def scored(tiny_cifar10):
    images, labels = load_cifar10(tiny_cifar10)[1]
    return np.asarray(images), np.asarray(labels)


def call(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_features_are_what_the_last_layer_decides_upon(random_model):
    network = load_network(random_model)
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    probabilities, features = with_features(network).predict_on_batch(pictures)
    np.testing.assert_allclose(probabilities, network.predict_on_batch(pictures), atol=1e-6)
    weights, bias = network.layers[-1].get_weights()
    logits = features @ weights + bias
    powers = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-5)

    both, mean = with_features(mirror_average(network)).predict_on_batch(pictures)
    views = [with_features(network).predict_on_batch(view) for view in (pictures, pictures[:, :, ::-1])]
    np.testing.assert_allclose(both, np.mean([view[0] for view in views], axis=0), atol=1e-5)
    np.testing.assert_allclose(mean, np.mean([view[1] for view in views], axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(Classifier(random_model).features(pictures), features, rtol=1e-4, atol=1e-4)


def test_a_run_ends_with_all_that_tells_how_far_to_trust_it(run, scored):
    card, answers, (images, labels) = load_card(run), read_answers(run), scored
    classifier = Classifier(run)
    found = classifier.examine(images)
    np.testing.assert_array_equal(answers.labels, labels)
    np.testing.assert_allclose(answers.probabilities, found.raw, atol=1e-5)
    np.testing.assert_array_equal(answers.fingerprints, fingerprints(images))
    calibrated = calibrate(answers.probabilities, card["calibration"])
    np.testing.assert_allclose(calibrated, found.probabilities, atol=1e-4)

    confusion = confusion_matrix(labels, answers.probabilities.argmax(1))
    assert card["confusion"] == confusion.tolist()
    assert card["scores"]["classes"]["cat"]["recall"] == pytest.approx(confusion[3, 3] / confusion[3].sum())
    bins = np.array(card["calibration"]["bins"])
    assert bins.shape == (15, 3) and bins[:, 2].sum() == 100
    error = np.average(np.abs(bins[:, 0] - bins[:, 1]), weights=bins[:, 2])
    assert card["calibration"]["expected_calibration_error"] == pytest.approx(error, abs=1e-4)

    told, sets = card["sets"]["levels"]["90"], found.members(90)
    assert told["coverage"] == pytest.approx(sets[np.arange(100), labels].mean())
    assert told["mean_size"] == pytest.approx(sets.sum(1).mean())
    assert told["classes"]["dog"] == pytest.approx(sets[labels == 5].sum(1).mean())
    scope = card["scope"]
    assert scope["false_alarms"] == pytest.approx(1 - found.in_scope.mean())
    np.testing.assert_allclose(found.scope, scope_score(found.raw), atol=1e-6)
    assert told["class_coverage"]["dog"] == pytest.approx(sets[labels == 5, 5].mean())
    assert card["mixes"]["pairs"] == 100 and 0.2 < card["mixes"]["parents_mass"] <= 1
    assert sum(scope["histogram"]["test"]) == 100
    assert len(scope["histogram"]["edges"]) == len(scope["histogram"]["outside"]) + 1


def test_raw_probabilities_leave_sets_as_they_are(run, scored):
    images, _ = scored
    calibrated, raw = (Classifier(run, calibrated=flag).examine(images) for flag in (True, False))
    np.testing.assert_array_equal(raw.probabilities, raw.raw)
    np.testing.assert_array_equal(calibrated.raw, raw.raw)
    np.testing.assert_array_equal(calibrated.sets, raw.sets)
    assert Classifier(run).examine(images[:0]).sets.shape == (0, 3, 10)
    with pytest.raises(SettingsError, match="Received: 42"):
        calibrated.members(42)


def test_a_model_without_these_parts_still_answers(random_model, scored):
    found = Classifier(random_model).examine(scored[0][:3])
    assert found.probabilities.shape == (3, 10)
    assert found.sets is None and found.scope is None and found.in_scope is None


def test_answers_are_kept_and_broken_ones_told(tmp_path):
    assert read_answers(tmp_path) is None
    p = np.random.default_rng(0).dirichlet(np.ones(10), 5).astype(np.float32)
    write_answers(tmp_path, probabilities=p, labels=np.arange(5))
    kept = read_answers(tmp_path)
    np.testing.assert_array_equal(kept.probabilities, p)
    assert kept.labels.tolist() == list(range(5)) and kept.scope is None
    (tmp_path / "answers.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ModelError, match="answers.npz can't be read"):
        read_answers(tmp_path)


def test_assessing_again_finds_the_same(run, tiny_cifar10, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(run, again, ignore=shutil.ignore_patterns("answers.npz", ".lock"))
    before = load_card(again)
    older = {key: before[key] for key in before if key not in ("sets", "scope", "confusion")}
    (again / "card.json").write_text(json.dumps(older | {"explanation": {"images": 500}}))
    code, out, _ = call("assess", again, "--data", tiny_cifar10)
    after = load_card(again)
    assert code == 0 and "answer sets at 95 %" in out
    assert after["mixes"] == pytest.approx(before["mixes"], abs=1e-3)
    assert after["explanation"] == {"images": 500} and after["command"] == before["command"]
    for key in ("confusion", "sets"):
        assert after[key] == before[key]
    assert after["scores"]["validation_accuracy"] == before["scores"]["validation_accuracy"]
    assert after["scope"]["threshold"] == pytest.approx(before["scope"]["threshold"], rel=1e-3)
    np.testing.assert_allclose(read_answers(again).probabilities, read_answers(run).probabilities, atol=1e-5)


def test_a_model_whose_held_out_pictures_are_unknown_is_not_assessed(random_model, tiny_cifar10):
    code, out, err = call("assess", random_model, "--data", tiny_cifar10)
    assert (code, out) == (1, "") and "doesn't say which images were held out" in err


def test_images_that_a_network_was_trained_on_are_refused(run, tiny_cifar10, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns(".lock"))
    card = load_card(copy)
    images, _ = load_cifar10(tiny_cifar10)[0]
    # As if all but a few of the images at hand had been trained on.
    names = np.sort(fingerprints(images))
    card["data"]["held_out_up_to"] = f"{int(names[50]):016x}"
    (copy / "card.json").write_text(json.dumps(card))
    code, out, err = call("assess", copy, "--data", tiny_cifar10)
    assert (code, out) == (1, "") and "51 were held out" in err and "at least 100 are needed" in err


def test_the_card_in_words(run, random_model):
    code, out, err = call("card", run)
    assert (code, err) == (0, "")
    assert (
        "PROMISED  CONTAINS THE TRUE CLASS" in out
        and "\n95 % " in out
        and "Wrongly flagged" in out
        and "Distance from the share" in out
        and "WORST CLASS" in out
        and "Mean gap" in out
    )
    assert all(name in out for name in CLASS_NAMES) and "assess" not in out
    assert json.loads(call("card", run, "--json")[1]) == load_card(run)
    code, out, _ = call("card", random_model)
    assert code == 0 and "python -m cifar_model assess" in out
    assert call("card", "no-such-net")[0] == 1


@pytest.fixture(scope="module")
def album(scored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("album")
    for i, pixels in enumerate(scored[0][:4]):
        (folder / f"{i}.png").write_bytes(encode(pixels))
    (folder / "5.png").write_bytes(b"no picture")
    return folder


def test_classify_tells_sets_and_scope(run, album, scored):
    found = Classifier(run).examine(scored[0][:4])
    code, out, _ = call("classify", album, "--sets", 99, "--scope", "--json", "--model", run)
    answers = json.loads(out)["answers"]
    assert code == 1 and len(answers) == 4  # one file can't be read
    for i, answer in enumerate(answers):
        assert answer["set_99"] == [CLASS_NAMES[c] for c in np.flatnonzero(found[i].members(99))]
        assert answer["scope"] == pytest.approx(float(found.scope[i]), abs=1e-3)
        assert answer["in_scope"] == bool(found.in_scope[i])
    _, out, _ = call("classify", album, "--sets", 99, "--scope", "--csv", "-", "--model", run)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["set_99"].split() for row in rows] == [answer["set_99"] for answer in answers]
    _, out, _ = call("classify", album, "--model", run, "--sets")
    assert out.count("(95 %)") == 4
    code, _, err = call("classify", "--model", run, "--sets", album)
    assert code == 2 and f"name it before --sets, or write --sets 95 {album}" in err
    assert [a.error is None for a in classify_files(Classifier(run), sorted(album.iterdir()))] == [True] * 4 + [False]


def test_evaluate_and_blend_tell_sets(run, tiny_cifar10, scored):
    asked = ("evaluate", "--model", run, "--data", tiny_cifar10, "--calibration", "--scope", "--mixes")
    result = json.loads(call(*asked, "--json")[1])
    card = load_card(run)
    for level in map(str, LEVELS):
        assert result["sets"][level]["coverage"] == pytest.approx(card["sets"]["levels"][level]["coverage"])
    assert result["false_alarms"] == pytest.approx(card["scope"]["false_alarms"])
    assert result["mixes"] == pytest.approx(card["mixes"], abs=1e-4)
    np.testing.assert_allclose(result["reliability"], card["calibration"]["bins"], atol=1e-4)
    assert "answer sets at 90 %" in call(*asked)[1]
    code, out, _ = call("blend", "cat", "dog", "--sets", 95, "--json", "--sweep", "--model", run)
    result = json.loads(out)
    assert code == 0 and result["set_95"] == result["sweep"][50]["set_95"]
    assert "Can't be ruled out" in call("blend", "cat", "dog", "--sets", "--model", run)[1]


def test_what_a_model_lacks_is_told(random_model, album):
    code, out, err = call("classify", album, "--sets", "--scope", "--model", random_model)
    assert (code, out) == (1, "") and "has no answer sets and no scope score" in err
    assert call("classify", album, "--sets", 80, "--model", random_model)[0] == 2
    assert call("blend", "cat", "dog", "--sets", 80, "--model", random_model)[0] == 2
