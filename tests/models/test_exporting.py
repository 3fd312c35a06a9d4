"""Exported models: read by the programs that they are for, and asked the same questions."""

import json
import shutil
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cifar_model.__main__ import main
from cifar_model.answering.classifier import Classifier
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ModelError, SettingsError
from cifar_model.models.exporting.export import CHECK_FILE, README_FILE, check_pictures, example, export_model
from cifar_model.models.exporting.formats import FORMATS
from cifar_model.models.layout import CARD_FILE, MODEL_FILE
from cifar_model.models.network import load_network, save_network
from cifar_model.networks.backend import import_keras
from cifar_model.networks.build import build_network
from cifar_model.networks.portable import calibrated, rebuilt
from cifar_model.networks.views import mirror_average
from cifar_model.storage import assets_dir, write_json
from cifar_model.trust.calibration import rescale

CALIBRATION = {"temperature": 1.4, "even_share": 0.6, "fitted_on": "made up"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that looks at mirror images too, with random weights that make it sure, and a calibration."""
    folder = tmp_path_factory.mktemp("models") / "mirrored"
    folder.mkdir()
    keras = import_keras()
    keras.utils.set_random_seed(3)
    network = build_network("seed-cnn")
    last = network.get_layer("probabilities")
    last.set_weights([5 * last.kernel.numpy(), np.linspace(-1, 1, 10)])
    save_network(mirror_average(network), folder / MODEL_FILE)
    write_json(folder / CARD_FILE, {"name": "mirrored", "network": "seed-cnn", "calibration": CALIBRATION})
    return folder


@pytest.fixture(scope="module")
def pictures():
    return check_pictures()[0][::40]


def call(*arguments):
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def needed(to):
    if missing := FORMATS[to].missing():
        pytest.skip(f"needs {', '.join(missing)}: requirements-formats.txt")


def options(to):
    return ["--calibrated"] if to not in ("keras", "h5") else []


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The model in a format, exported once."""

    @lru_cache
    def export(to):
        needed(to)
        out = tmp_path_factory.mktemp("exports") / to
        code, said = call("export", model, "--to", to, "--out", out, *options(to))
        assert code == 0, said
        return out

    return export


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_answers_as_the_model_does(model, pictures, exported, to):
    out = exported(to)
    ours = Classifier(model, calibrated=bool(options(to))).predict(pictures)
    for file in FORMATS[to].files:
        # The oracle is that program itself, called here anew.
        theirs = FORMATS[to].read(out / file)(pictures.astype(np.float32))
        assert np.abs(theirs - ours).max() <= 1e-5
    check = json.loads((out / CHECK_FILE).read_text())
    assert set(check["largest_difference"]) == set(FORMATS[to].files)
    assert max(check["largest_difference"].values()) <= 1e-5 and check["classes"] == list(CLASS_NAMES)
    assert check["calibration"] == ({"temperature": 1.4, "even_share": 0.6} if options(to) else None)
    assert (out / "classes.txt").read_text().split() == list(CLASS_NAMES)

    program = example(to)
    assert len(program.splitlines()) == 5
    told = "\n".join(line.removeprefix("    ") for line in (out / README_FILE).read_text().splitlines())
    assert program.strip() in told


def test_the_examples_run(model, pictures, exported):
    formats = [to for to in FORMATS if not FORMATS[to].missing()]
    lines = ["import os"]  # one process for all: most of them bring TensorFlow
    for to in formats:
        Image.fromarray(pictures[3]).save(exported(to) / "picture.png")
        lines += [f"os.chdir({str(exported(to))!r})", f"exec({example(to)!r}, {{}})", "print('NEXT')"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = done.stdout.split("NEXT")[:-1]
    for to, words in zip(formats, told, strict=True):
        ours = Classifier(model, calibrated=bool(options(to))).predict(pictures[3:4])[0]
        name, probability = words.split()[-2:]  # Keras draws a bar before them
        assert name == CLASS_NAMES[ours.argmax()] and abs(float(probability) - ours.max()) < 1e-4, to


def test_hdf5_refuses_a_calibration(model, tmp_path):
    code, said = call("export", model, "--to", "h5", "--calibrated", "--out", tmp_path / "out")
    assert code == 1 and "HDF5 holds Keras's layers alone" in said and not list(tmp_path.iterdir())


def test_onnx_has_one_input_with_the_pixels_name(model, tmp_path):
    needed("onnx")
    import onnxruntime

    assert call("export", model, "--to", "onnx", "--out", tmp_path / "out")[0] == 0
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    assert [(one.name, one.shape[1:]) for one in session.get_inputs()] == [("pixels", [32, 32, 3])]


@pytest.mark.parametrize(("temperature", "even_share"), [(1.0, 0.0), (2.5, 0.0), (0.4, 0.0), (1.4, 0.6), (0.7, 0.98)])
@pytest.mark.parametrize("ends", ["dense", "softmax", "activation", "order", "mirror"])
def test_calibration_behind_the_softmax_is_the_cards(pictures, ends, temperature, even_share):
    keras = import_keras()
    keras.utils.set_random_seed(5)
    start = keras.Input((32, 32, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 50)(start))
    if ends in ("dense", "order", "mirror"):
        x = keras.layers.Dense(10, activation="softmax")(x)
    else:
        x = keras.layers.Dense(10)(x)
        x = keras.layers.Softmax()(x) if ends == "softmax" else keras.layers.Activation("softmax")(x)
    if ends == "order":
        order = keras.layers.EinsumDense("bi,io->bo", output_shape=10)
        x = order(x)
        order.set_weights([np.eye(10, dtype=np.float32)[[3, 1, 2, 0, 4, 5, 6, 9, 8, 7]]])
    network = keras.Model(start, x, name="small")
    if ends == "mirror":
        network = mirror_average(network)
    found = calibrated(network, temperature, even_share).predict_on_batch(pictures)
    wanted = rescale(network.predict_on_batch(pictures).astype(np.float64), temperature, even_share)
    assert np.abs(found - wanted).max() < 1e-5


def test_an_older_files_mirror_average_is_rebuilt(pictures):
    import_keras()
    network = mirror_average(build_network("seed-cnn"))
    assert np.array_equal(rebuilt(network).predict_on_batch(pictures), network.predict_on_batch(pictures))


def test_what_answers_otherwise_is_not_written(model, tmp_path):
    with pytest.raises(ModelError, match="differs by"):
        export_model(model, "keras", tmp_path / "out", reference=lambda x: np.full((len(x), 10), 0.1, np.float32))
    assert not list(tmp_path.iterdir())


def test_an_export_replaces_an_older_one_and_nothing_else(model, tmp_path):
    out = tmp_path / "out"
    assert call("export", model, "--to", "keras", "--out", out)[0] == 0
    code, said = call("export", model, "--to", "h5", "--out", out)
    assert code == 0 and (out / "model.h5").is_file() and not (out / "model.keras").exists(), said
    assert load_network(model).output_shape == (None, 10)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    code, said = call("export", model, "--to", "keras", "--out", tmp_path / "mine")
    assert code == 2 and "holds other files" in said and (tmp_path / "mine" / "diary.txt").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_unknown_formats_and_models_without_calibration(model, random_model, tmp_path):
    with pytest.raises(SettingsError, match="litert, onnx"):
        export_model(model, "pmml", tmp_path / "out", reference=lambda x: x)
    code, said = call("export", random_model, "--to", "keras", "--calibrated", "--out", tmp_path / "out")
    assert code == 1 and "has no calibration" in said


def test_a_model_by_its_file_answers_as_by_its_folder_or_says_why_not(model, tmp_path):
    cat = assets_dir() / "samples" / "cat.webp"

    def asked(path):
        done = CliRunner().invoke(main, ["classify", str(cat), "--model", str(path), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["answers"], done.stderr

    (folder, said), (file, _) = asked(model), asked(model / MODEL_FILE)
    assert folder == file and "uncalibrated" not in said
    shutil.copy(model / MODEL_FILE, tmp_path / "alone.keras")
    alone, said = asked(tmp_path / "alone.keras")
    assert alone != folder and "percentages are not calibrated" in said
