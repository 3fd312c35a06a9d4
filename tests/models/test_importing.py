"""Somebody's own models, as people have them: each becomes one that answers as it did there."""

import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import make_pictures, write_parquet

from cifar_model.__main__ import main
from cifar_model.answering.classifier import Classifier
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import LabError, ModelError, SettingsError
from cifar_model.models.answers import read_answers
from cifar_model.models.card import load_card
from cifar_model.models.exporting.formats import FORMATS
from cifar_model.models.importing import fit as fitting
from cifar_model.models.importing.bring import import_model, suggested_name
from cifar_model.models.importing.fit import best_order, kind_of_output, probabilities, scaled, scaling
from cifar_model.networks.backend import import_keras
from cifar_model.networks.build import build_network
from cifar_model.runs.read import read_run
from cifar_model.storage import assets_dir, runs_dir
from cifar_model.trust.report import read_report

SWAPPED = (3, 1, 2, 0, 4, 5, 6, 9, 8, 7)  # output i stands for this class


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Pictures on which a small network is often, not always, right; and a folder of them as CIFAR-10."""
    folder = tmp_path_factory.mktemp("stripes")
    parts = []
    for split, per_class, seed in (("train", 60, 1), ("test", 40, 2)):
        images, labels = make_pictures(per_class, seed)
        noise = np.random.default_rng(seed).normal(0, 90, images.shape)
        images = np.clip(images + noise, 0, 255).astype(np.uint8)
        write_parquet(folder / f"{split}-00000-of-00001.parquet", images, labels)
        parts.append((images, labels))
    return folder, *parts


@pytest.fixture(autouse=True)
def _data(stripes, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", str(stripes[0]))


@pytest.fixture(scope="module")
def own(stripes):
    """Train a small network as a person would: `own(pixels, logits=, order=, functional=)`."""
    keras = import_keras()
    _, (images, labels), _ = stripes
    made = {}

    def train(pixels="0-1", *, ends="softmax", order=None, functional=False):
        key = (pixels, ends, order, functional)
        if key not in made:
            keras.utils.set_random_seed(1)
            wide = [
                *([keras.layers.Rescaling(1 / 255)] if pixels == "0-255" else []),
                keras.layers.Conv2D(12, 5, strides=3, activation="relu"),
                keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(10, activation=ends),
            ]
            if functional:
                x = start = keras.Input((32, 32, 3), name="pixels")
                for layer in wide:
                    x = layer(x)
                network = keras.Model(start, x)
            else:
                network = keras.Sequential([keras.Input((32, 32, 3)), *wide])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=ends == "linear")
            if ends == "sigmoid":
                loss = "binary_crossentropy"
            network.compile(keras.optimizers.Adam(3e-3), loss)
            wanted = labels if order is None else np.argsort(order)[labels]
            wanted = np.eye(10, dtype=np.float32)[wanted] if ends == "sigmoid" else wanted
            network.fit(scaled(images, pixels), wanted, batch_size=60, epochs=12, verbose=0)
            made[key] = network
        return made[key]

    return train


def bring(path, tmp_path, **options):
    card = import_model(path, tmp_path / "brought", **options)
    return card, Classifier(tmp_path / "brought")


def expected(network, images, pixels, order=None):
    """What the network answers there, as probabilities in our order: the oracle."""
    outputs = network.predict_on_batch(scaled(images, pixels)).astype(np.float64)
    found = probabilities(outputs, kind_of_output(outputs))
    return found if order is None else found[:, np.argsort(order)]


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(
    ("pixels", "ends", "order", "functional"),
    [
        ("0-255", "softmax", None, False),
        ("0-1", "softmax", None, False),
        ("0-1", "linear", SWAPPED, True),
        ("-1-1", "linear", None, True),
        ("standardized", "softmax", SWAPPED, False),
    ],
)
def test_keras_files_answer_here_as_there(own, stripes, tmp_path, ending, pixels, ends, order, functional):
    network, (images, labels) = own(pixels, ends=ends, order=order, functional=functional), stripes[2]
    network.save(tmp_path / f"mine.{ending}")
    card, classifier = bring(tmp_path / f"mine.{ending}", tmp_path)
    assert card["imported"]["pixels"] == pixels
    assert card["imported"]["output"] == ("logits" if ends == "linear" else "probabilities")
    assert card["imported"]["classes"] == [CLASS_NAMES[i] for i in order or range(10)]
    found = classifier.predict(images)
    assert np.abs(found - expected(network, images, pixels, order)).max() < 1e-5
    assert abs((found.argmax(1) == labels).mean() - card["imported"]["accuracy"]) < 1e-9
    assert card["imported"]["accuracy"] > 0.5
    # It is explained and looked into like any other.
    assert classifier.has_features and classifier.explain(images[:2], labels[:2]).max() == 1
    assert not classifier.calibration and any("It has no calibration" in note for note in card["imported"]["notes"])


def test_ten_answers_yes_or_no(own, stripes, tmp_path):
    network, (images, _) = own("0-1", ends="sigmoid"), stripes[2]
    network.save(tmp_path / "mine.keras")
    card, classifier = bring(tmp_path / "mine.keras", tmp_path)
    assert card["imported"]["output"] == "yes or no"
    assert np.abs(classifier.predict(images) - expected(network, images, "0-1")).max() < 1e-4


def test_a_saved_model_as_the_origin_wrote_its_own(own, stripes, tmp_path):
    """Signature serving_default, pixels/255; the folder that came of it needs no other."""
    import tensorflow as tf

    network, (images, labels) = own("0-1"), stripes[2]
    spec = tf.TensorSpec((None, 32, 32, 3), tf.float32, name="conv2d_input")
    module = tf.Module()
    module.network = network
    serve = tf.function(lambda conv2d_input: {"dense_1": network(conv2d_input)}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "cnn"), signatures={"serving_default": serve})
    card, _ = bring(tmp_path / "cnn", tmp_path)
    (tmp_path / "cnn").rename(tmp_path / "gone")
    (tmp_path / "brought").rename(tmp_path / "moved")
    classifier = Classifier(tmp_path / "moved")
    assert card["imported"]["pixels"] == "0-1" and card["imported"]["format"].startswith("SavedModel")
    assert np.abs(classifier.predict(images) - expected(network, images, "0-1")).max() < 1e-5
    assert classifier.explain(images[:2], labels[:2]).max() == 1
    with pytest.raises(ModelError, match="no features"):
        classifier.features(images[:1])


@pytest.mark.parametrize("to", ["litert", "onnx"])
def test_litert_and_onnx_files(own, stripes, tmp_path, to):
    if missing := FORMATS[to].missing():
        pytest.skip(f"needs {', '.join(missing)}: requirements-formats.txt")
    network, (images, labels) = own("0-1", ends="linear", order=SWAPPED, functional=True), stripes[2]
    file = tmp_path / ("mine.tflite" if to == "litert" else "mine.onnx")
    network.export(file, format=to, verbose=False)
    card, classifier = bring(file, tmp_path)
    file.unlink()
    assert card["imported"]["pixels"] == "0-1" and card["imported"]["classes"][0] == "cat"
    for n in (1, 7, 0, 100):  # of any number at a time
        found = classifier.predict(images[:n])
        assert found.shape == (n, 10)
        assert not n or np.abs(found - expected(network, images[:n], "0-1", SWAPPED)).max() < 1e-4
    heat = classifier.explain(images[:1], labels[:1])  # without gradients: by hiding squares
    assert heat.shape == (1, 32, 32) and heat.max() == 1
    with pytest.raises(SettingsError, match="occlusion"):
        classifier.explain(images[:1], labels[:1], method="deletion-path")


def test_channels_first_and_one_picture_at_a_time(own, stripes, tmp_path):
    """As PyTorch exports: (1, 3, 32, 32)."""
    import keras
    import tensorflow as tf

    network, (images, _) = own("-1-1", ends="linear", functional=True), stripes[2]
    turned = keras.Sequential([keras.Input((3, 32, 32)), keras.layers.Permute((2, 3, 1)), network])
    shape = tf.TensorSpec((1, 3, 32, 32), tf.float32)
    turned.export(tmp_path / "mine.tflite", format="litert", input_signature=[shape], verbose=False)
    card, classifier = bring(tmp_path / "mine.tflite", tmp_path)
    assert card["imported"]["pixels"] == "-1-1"
    assert np.abs(classifier.predict(images[:9]) - expected(network, images[:9], "-1-1")).max() < 1e-4


def test_weights_of_the_labs_own_networks(tmp_path):
    import_keras()
    network = build_network("custom", filters=(8, 16), dense=24)
    network.save_weights(tmp_path / "mine.weights.h5")
    card, classifier = bring(tmp_path / "mine.weights.h5", tmp_path)
    images = make_pictures(1, 3)[0]
    assert card["network"] == "custom" and card["imported"]["pixels"] == "0-255"
    assert np.abs(classifier.predict(images) - network.predict_on_batch(images)).max() < 1e-6


def test_pixels_and_classes_can_be_given(own, stripes, tmp_path):
    network, (images, _) = own("0-1"), stripes[2]
    network.save(tmp_path / "mine.keras")
    names = ",".join(CLASS_NAMES[i] for i in SWAPPED)
    card, classifier = bring(tmp_path / "mine.keras", tmp_path, pixels="-1-1", classes=names)
    assert (card["imported"]["pixels"], card["imported"]["classes"][0]) == ("-1-1", "cat")
    assert np.abs(classifier.predict(images) - expected(network, images, "-1-1", SWAPPED)).max() < 1e-5
    with pytest.raises(SettingsError, match="all ten"):
        import_model(tmp_path / "mine.keras", tmp_path / "other", classes="cat,dog")


def test_a_network_built_by_its_first_batch_and_compiled_with_code_of_its_own(stripes, tmp_path):
    """No Input layer, so the file says (1, 32, 32, 3); its loss is a lambda, which answers don't need."""
    keras = import_keras()
    network = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    network(np.zeros((1, 32, 32, 3), np.float32))
    network.compile("adam", lambda truth, answer: keras.ops.mean(truth - answer))
    network.save(tmp_path / "mine.keras")
    _, classifier = bring(tmp_path / "mine.keras", tmp_path, pixels="0-255", classes=",".join(CLASS_NAMES))
    images = stripes[2][0][:7]
    expected = network(images.astype(np.float32)).numpy()
    np.testing.assert_allclose(classifier.predict(images), expected, atol=1e-5)


def test_a_network_that_is_never_right_is_asked_about(tmp_path):
    keras = import_keras()
    keras.utils.set_random_seed(2)
    network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)])
    network.layers[-1].set_weights([np.zeros((3072, 10)), np.arange(10.0)])
    network.save(tmp_path / "mine.keras")
    with pytest.raises(ModelError, match="--pixels .* and --classes"):
        import_model(tmp_path / "mine.keras", tmp_path / "brought")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.keras"]


def test_without_cifar10_what_ships_is_asked(monkeypatch, stripes):
    monkeypatch.delenv("CIFAR10_DIR")
    images, labels, said = fitting.labelled_pictures()
    assert len(images) == len(labels) >= 10 and "sample photographs" in said


def hostile(kind, tmp_path, keras):
    layers = keras.layers
    file = tmp_path / "mine.keras"
    small = keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(10, activation="softmax")])
    if kind in ("lambda", "lambda.h5"):
        network = keras.Sequential(
            [keras.Input((32, 32, 3)), layers.Lambda(lambda x: x / 255), layers.Flatten(), layers.Dense(10)]
        )
        file = file.with_suffix(".h5") if kind == "lambda.h5" else file
        network.save(file)
    elif kind == "nested lambda":
        inner = keras.Sequential([keras.Input((32, 32, 3)), layers.Lambda(lambda x: x / 255)])
        keras.Sequential([keras.Input((32, 32, 3)), inner, layers.Flatten(), layers.Dense(10)]).save(file)
    elif kind == "cut":
        small.save(file)
        file.write_bytes(file.read_bytes()[:-3000])
    elif kind == "cut.h5":
        file = file.with_suffix(".h5")
        small.save(file)
        file.write_bytes(file.read_bytes()[:20_000])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "text":
        file.write_text("not a model")
    elif kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("hello.txt", "hello")
    elif kind == "foreign code":
        small.save(file)
        with zipfile.ZipFile(file) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        config = parts["config.json"].replace(b'"module": "keras.layers"', b'"module": "os"', 1)
        assert config != parts["config.json"]
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in (parts | {"config.json": config}).items():
                archive.writestr(name, data)
    elif kind == "100 classes":
        keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(100)]).save(file)
    elif kind == "grey":
        keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)]).save(file)
    elif kind == "large":
        keras.Sequential([keras.Input((96, 96, 3)), layers.GlobalAveragePooling2D(), layers.Dense(10)]).save(file)
    elif kind == "two inputs":
        a, b = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
        keras.Model([a, b], layers.Dense(10)(layers.Flatten()(layers.Add()([a, b])))).save(file)
    elif kind == "nan":
        small.layers[-1].set_weights([np.full((3072, 10), np.nan), np.zeros(10)])
        small.save(file)
    elif kind == "pickle":
        file = tmp_path / "mine.pt"
        file.write_bytes(b"PK\x03\x04 rest")
    elif kind == "folder":
        file = tmp_path / "folder"
        (file / "variables").mkdir(parents=True)
    elif kind == "broken folder":
        file = tmp_path / "folder"
        file.mkdir()
        (file / "saved_model.pb").write_bytes(b"\xff\xfe broken")
    elif kind == "cut.tflite":
        file = tmp_path / "mine.tflite"
        file.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(40))
    elif kind == "absent":
        file = tmp_path / "absent.keras"
    return file


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lambda", "Lambda layer"),
        ("lambda.h5", "Lambda layer"),
        ("nested lambda", "Lambda layer"),
        ("foreign code", "somebody's code"),
        ("cut", "cut short or damaged"),
        ("cut.h5", "cut short or damaged"),
        ("empty", "empty file"),
        ("text", "damaged, or something else"),
        ("zip", "without a model of Keras"),
        ("100 classes", r"to \(None, 100\); expected"),
        ("grey", r"maps \(None, 28, 28, 1\)"),
        ("large", r"Resizing\(96, 96\), model"),
        ("two inputs", "inputs: 2, outputs: 1"),
        ("nan", "not finite"),
        ("pickle", "Export the network to ONNX"),
        ("folder", "it holds variables"),
        ("broken folder", "can't be read|can't load"),
        ("cut.tflite", "LiteRT can't read"),
        ("absent", "does not exist"),
    ],
)
def test_what_is_refused_is_told_in_one_message_and_leaves_nothing(tmp_path, kind, said):
    file = hostile(kind, tmp_path, import_keras())
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ModelError, match=said) as caught:
        import_model(file, tmp_path / "brought")
    assert "Traceback" not in str(caught.value) and len(str(caught.value)) < 700
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_hdf5_that_points_to_another_file_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["weights"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(ModelError, match="points to another file"):
        import_model(tmp_path / "mine.h5", tmp_path / "brought")


def test_a_saved_model_that_writes_files_is_refused(tmp_path):
    import tensorflow as tf

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32)])
        def serve(self, pixels):
            tf.io.write_file("/tmp/never-written", "x")
            return tf.reduce_mean(pixels, axis=(1, 2))[:, :1] * tf.ones((1, 10))

    module = Writer()
    tf.saved_model.save(module, str(tmp_path / "cnn"), signatures={"serving_default": module.serve})
    with pytest.raises(ModelError, match="WriteFile"):
        import_model(tmp_path / "cnn", tmp_path / "brought")


def test_the_best_order_is_the_best_of_all():
    from scipy.optimize import linear_sum_assignment  # an oracle that scikit-learn brings

    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.integers(0, 30, (10, 10))
        rows, columns = linear_sum_assignment(counts, maximize=True)
        order = best_order(counts)
        assert sorted(order) == list(range(10))
        assert counts[np.arange(10), order].sum() == counts[rows, columns].sum()


def test_ranges_of_pixels_are_what_they_say():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    assert np.allclose(scaled(images, "0-1"), images / 255, atol=1e-6)
    assert np.allclose(scaled(images, "-1-1"), images / 127.5 - 1, atol=1e-6)
    assert np.abs(scaled(images, "per-image").mean(axis=(1, 2, 3))).max() < 1e-5
    assert scaling("0-255") == ([1, 1, 1], [0, 0, 0])


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My net (2).h5", "My-net-2"),
        ("lab-net.keras", "lab-net-own"),
        ("x.weights.h5", "x"),
        ("日本.keras", "imported"),
    ],
)
def test_a_name_after_the_file(tmp_path, file, name):
    assert suggested_name(tmp_path / file) == name


def test_the_command_brings_in_scores_and_lists(own, stripes, tmp_path):
    own("0-1").save(tmp_path / "My net.keras")
    found = CliRunner().invoke(main, ["import", str(tmp_path / "My net.keras")])
    assert found.exit_code == 0, found.output
    assert "pixels divided by 255" in found.output and "(400 images)" in found.output
    card, answers = load_card(runs_dir() / "My-net"), read_answers(runs_dir() / "My-net")
    assert card["scores"]["test_accuracy"] == (answers.probabilities.argmax(1) == answers.labels).mean()
    assert read_run("My-net").state == "finished"
    report = read_report("My-net")
    told = " ".join(report.sentences())
    assert "imported from “My net.keras”" in told and "unseen" not in told and "It has no calibration" in told
    assert report.calibration == {} and not report.set_levels and report.scope is None

    again = CliRunner().invoke(main, ["import", str(tmp_path / "My net.keras")])
    assert again.exit_code == 1 and "choose another name" in again.output
    cat = assets_dir() / "samples" / "cat.webp"
    found = CliRunner().invoke(main, ["classify", str(cat), "--model", "My-net", "--json"])
    assert found.exit_code == 0 and json.loads(found.stdout)["answers"][0]["class"] in CLASS_NAMES
    assert "was trained on isn't known" in CliRunner().invoke(main, ["card", "My-net"]).output


def test_a_model_folder_is_taken_over_as_it_is(random_model, tmp_path):
    card = import_model(random_model, tmp_path / "copy")
    assert card["network"] == "seed-cnn" and card["name"] == "copy" and "imported" not in card
    images = make_pictures(1, 4)[0]
    assert np.array_equal(Classifier(tmp_path / "copy").predict(images), Classifier(random_model).predict(images))
    with pytest.raises(LabError, match="already"):
        import_model(random_model, tmp_path / "copy")
