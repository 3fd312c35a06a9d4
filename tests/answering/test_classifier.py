"""Answers in memory and from files, against Keras's own."""

import itertools
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import REPOSITORY, encode, make_pictures

from cifar_model.answering.classifier import Classifier
from cifar_model.answering.files import classify_files
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ModelError, SettingsError
from cifar_model.models.network import load_network
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir


@pytest.fixture(scope="module")
def classifier(random_model):
    return Classifier(random_model)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(3).integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def lab_net():
    if not (assets_dir() / "models" / "lab-net" / "model.keras").is_file():
        pytest.skip("needs assets/models/lab-net")
    return Classifier("lab-net")


def test_answers_are_those_of_the_saved_network(classifier, pictures, random_model):
    answers = classifier.predict(pictures[:300])
    expected = load_network(random_model).predict(pictures[:300], verbose=0)
    assert answers.dtype == np.float32 and answers.shape == (300, 10)
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert answers.std(axis=0).max() > 1e-3  # the network tells pictures apart, so a shifted row would show


def test_a_picture_alone_and_in_a_thousand_gets_the_same_answer(classifier, pictures):
    together = classifier.predict(pictures)
    for i in (0, 1, 15, 16, 17, 127, 128, 129, 500, 999):
        np.testing.assert_allclose(classifier.predict(pictures[i : i + 1])[0], together[i], atol=1e-5)
    np.testing.assert_allclose(classifier.predict(pictures, batch_size=7), together, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(pictures))
    np.testing.assert_allclose(classifier.predict(pictures[order]), together[order], atol=1e-5)


def test_lab_net_answers_alike_alone_and_in_batches(lab_net, pictures):
    together = lab_net.predict(pictures[:140])  # a whole batch and a part of one
    for i in (0, 16, 127, 128, 139):
        np.testing.assert_allclose(lab_net.predict(pictures[i : i + 1])[0], together[i], atol=1e-5)


def test_read_only_and_strided_pictures(classifier, pictures):
    expected = classifier.predict(pictures[:40:4])
    frozen = pictures[:40:4].copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(classifier.predict(frozen), expected)
    mirrored = np.ascontiguousarray(pictures[:4, :, ::-1])
    np.testing.assert_array_equal(classifier.predict(pictures[:4, :, ::-1]), classifier.predict(mirrored))


def test_no_picture_no_answer(classifier, pictures):
    assert classifier.predict(pictures[:0]).shape == (0, 10)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), "float32 (2, 32, 32, 3)"),
        (np.zeros((32, 32, 3), np.uint8), "give picture[None]"),
        (np.zeros((1, 3, 32, 32), np.uint8), "uint8 (1, 3, 32, 32)"),
        (np.zeros((1, 64, 64, 3), np.uint8), "uint8 (1, 64, 64, 3)"),
        ([], "float64 (0,)"),
    ],
)
def test_other_pixels_are_refused(classifier, images, message):
    with pytest.raises(SettingsError) as error:
        classifier.predict(images)
    assert message in str(error.value)


def test_a_batch_holds_a_picture(classifier, pictures):
    with pytest.raises(SettingsError, match="batch_size=0"):
        classifier.predict(pictures[:1], batch_size=0)


def test_name_and_card(random_model):
    classifier = Classifier(random_model)
    classifier.warm_up()
    assert (classifier.name, classifier.card.network) == ("random", "seed-cnn")


def test_a_network_without_a_card_answers(random_model, tmp_path, pictures):
    shutil.copy(random_model / "model.keras", tmp_path)
    assert not Classifier(tmp_path).card


def test_a_diverged_network_is_named(random_model, tmp_path, pictures):
    network = load_network(random_model)
    network.set_weights([np.full_like(weight, np.nan) for weight in network.get_weights()])
    network.save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="not finite"):
        Classifier(tmp_path).predict(pictures[:1])


def test_missing_and_broken_models(tmp_path):
    with pytest.raises(ModelError, match="No model 'nowhere'"):
        Classifier("nowhere")
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ModelError, match="can't be loaded"):
        Classifier(tmp_path)


def test_other_backends_answer_in_few_batch_sizes(random_model, classifier, pictures, monkeypatch):
    import keras

    sizes = set()
    original = keras.Model.predict_on_batch

    def predict_on_batch(self, x):
        sizes.add(len(x))
        return original(self, x)

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.Model, "predict_on_batch", predict_on_batch)
    other = Classifier(random_model)
    for count in (1, 3, 5, 128, 300):
        expected = classifier.predict(pictures[:count])
        np.testing.assert_allclose(other.predict(pictures[:count]), expected, atol=1e-6)
    assert sizes == {1, 4, 8, 64, 128}


def test_importing_the_classifier_loads_no_tensorflow():
    code = (
        "import sys, cifar_model.answering.classifier, cifar_model.cli.classify\n"
        "sys.exit(bool({'tensorflow', 'keras', 'streamlit'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for i, pixels in enumerate(make_pictures(3, seed=5)[0]):
        paths.append(folder / f"{i:02}.png")
        paths[-1].write_bytes(encode(pixels))
    paths[4].write_bytes(b"not a picture")
    paths[19].write_bytes(b"")
    return paths


def test_files_are_answered_in_order_to_the_digit(classifier, files):
    answers = list(classify_files(classifier, files, batch_size=8))
    assert [answer.path for answer in answers] == files
    assert [i for i, answer in enumerate(answers) if answer.error] == [4, 19]
    for answer in answers:
        if not answer.error:
            np.testing.assert_array_equal(answer.pixels, load_image(answer.path))
            np.testing.assert_allclose(
                answer.answer.probabilities, classifier.predict(answer.pixels[None])[0], atol=1e-6
            )


def test_all_files_of_a_batch_may_be_broken(classifier, files):
    answers = list(classify_files(classifier, [files[4], files[19], files[0]], batch_size=1))
    assert [bool(answer.error) for answer in answers] == [True, True, False]
    assert list(classify_files(classifier, [])) == []


def test_files_are_read_only_so_far_ahead(classifier, files):
    taken = []

    def endless():
        for path in itertools.cycle(files):
            taken.append(path)
            yield path

    answers = classify_files(classifier, endless(), batch_size=4)
    for _ in range(9):
        next(answers)
    assert len(taken) <= 12 + 2 * 4  # three batches answered or begun, two on their way
    answers.close()


def test_most_sample_photographs_are_recognised(lab_net):
    pixels = np.stack([load_image(assets_dir() / "samples" / f"{name}.webp") for name in CLASS_NAMES])
    answers = lab_net.predict(pixels).argmax(axis=1)
    right = int((answers == np.arange(10)).sum())
    assert right >= 7, [CLASS_NAMES[i] for i in answers]
