"""LiteRT's answers against Keras's, and when which of them answers."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import REPOSITORY, make_pictures

from cifar_model.answering.classifier import Classifier
from cifar_model.errors import LabError, ModelError, SettingsError
from cifar_model.models import compiled
from cifar_model.models.compiled import compile_model, compiled_file, compiled_folder, read_compiled
from cifar_model.networks.litert import INTERPRETERS, litert_available
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir

pytestmark = pytest.mark.skipif(not litert_available(), reason="no LiteRT on this platform")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of these tests' own: in others Keras is to answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Path(os.environ["CIFAR_LAB_CACHE"])


@pytest.fixture(scope="module")
def pictures():
    samples = [load_image(file) for file in sorted((assets_dir() / "samples").glob("*.webp"))]
    noise = np.random.default_rng(3).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    return np.concatenate([samples, make_pictures(3, seed=5)[0], noise, np.zeros_like(noise[:1])])


@pytest.fixture(scope="module")
def file(random_model, cache):
    return compile_model(random_model)


@pytest.fixture(scope="module")
def litert(random_model, file):
    return Classifier(random_model, engine="litert")


@pytest.mark.parametrize("name", ["random", "lab-net", "seed-cnn"])
def test_both_engines_say_the_same(name, cache, random_model, pictures):
    model = random_model if name == "random" else assets_dir() / "models" / name
    keras = Classifier(model, engine="keras")
    if name == "random":  # those that ship have theirs
        compile_model(model, keras.network)
    litert = Classifier(model)
    assert (keras.engine, litert.engine) == ("keras", "litert")
    ours, theirs = litert.examine(pictures), keras.examine(pictures)
    np.testing.assert_allclose(ours.raw, theirs.raw, atol=1e-5)
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-5)
    assert theirs.raw.std(axis=0).max() > 1e-3  # the network tells these apart
    if name != "random":
        for part in ("sets", "in_scope"):
            np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))
        np.testing.assert_allclose(ours.scope, theirs.scope, atol=1e-5)
    assert litert.has_features and keras.has_features
    wanted = keras.features(pictures)
    np.testing.assert_allclose(litert.features(pictures), wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_picture_alone_and_among_others_gets_the_very_same_answer(litert, pictures):
    together = litert.predict(pictures)
    for i in range(0, len(pictures), 9):
        np.testing.assert_array_equal(litert.predict(pictures[i : i + 1])[0], together[i])
    np.testing.assert_array_equal(litert.predict(pictures, batch_size=7), together)
    assert litert.predict(pictures[:0]).shape == (0, 10)


def test_many_threads_ask_at_once(litert, pictures):
    wanted = litert.predict(pictures)
    start = threading.Barrier(12)

    def ask(number: int) -> bool:
        start.wait()
        order = np.random.default_rng(number).permutation(len(pictures))
        return all(np.array_equal(litert.predict(pictures[order]), wanted[order]) for _ in range(5))

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(12)))
    assert len(litert._engine._idle) <= INTERPRETERS


def test_one_interpreter_where_one_cpu_is_given(litert, pictures):
    alone = Classifier(litert.path, engine="litert", interpreters=1)
    np.testing.assert_array_equal(alone.predict(pictures), litert.predict(pictures))
    assert len(alone._engine._idle) == 1


def test_answers_need_no_tensorflow(random_model, file):
    code = (
        "import sys\nfrom cifar_model import Classifier, load_image\n"
        f"asked = Classifier({str(random_model)!r})\n"
        "asked.predict(load_image('assets/samples/cat.webp')[None])\n"
        "sys.exit(asked.engine != 'litert' or bool({'tensorflow', 'keras', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_the_command_needs_no_tensorflow(random_model, file):
    code = (
        "import sys\nfrom cifar_model.__main__ import main\n"
        f"main(['classify', 'assets/samples/cat.webp', '--model', {str(random_model)!r}], standalone_mode=False)\n"
        "print('HEAVY', {'tensorflow', 'keras', 'pandas', 'sklearn', 'altair', 'rich', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "cat.webp" in done.stdout and "HEAVY set()" in done.stdout


def test_explanations_load_the_network(litert, pictures):
    assert "network" not in vars(litert)
    assert litert.explain(pictures[:1], np.array([3])).shape == (1, 32, 32)
    assert "network" in vars(litert)


def test_keras_answers_without_litert(random_model, file, monkeypatch, pictures):
    wanted = Classifier(random_model, engine="litert").predict(pictures[:3])
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)  # as on a platform without a wheel
    assert not litert_available()
    asked = Classifier(random_model)
    assert asked.engine == "keras"
    np.testing.assert_allclose(asked.predict(pictures[:3]), wanted, atol=1e-5)
    with pytest.raises(ModelError, match="no compiled form"):
        Classifier(random_model, engine="litert")
    with pytest.raises(ModelError, match="not installed"):
        compile_model(random_model)


def test_keras_answers_where_litert_fails(random_model, file, monkeypatch, caplog):
    monkeypatch.setattr("cifar_model.answering.engines.read_compiled", lambda _: b"a form of another runtime")
    assert Classifier(random_model).engine == "keras"
    assert "Keras answers" in caplog.text


def test_another_backend_is_what_answers(random_model, file, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("cifar_model.answering.classifier.KerasEngine", lambda network: network)
    assert Classifier(random_model).engine == "keras"


def test_no_such_engine(random_model):
    with pytest.raises(SettingsError, match="onnx"):
        Classifier(random_model, engine="onnx")


def test_a_compiled_form_is_of_this_very_model(random_model, file, tmp_path):
    assert read_compiled(random_model) is not None
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.keras").write_bytes((random_model / "model.keras").read_bytes())
    assert read_compiled(model) is not None and read_compiled(model / "model.keras") is not None  # by content
    (model / "model.keras").write_bytes((random_model / "model.keras").read_bytes() + b" ")
    assert read_compiled(model) is None
    (model / "model.tflite").write_bytes(file.read_bytes())  # of the network before
    assert read_compiled(model) is None
    (model / "model.keras").unlink()
    assert read_compiled(model) is None


@pytest.mark.parametrize("harm", ["cut short", "one bit", "empty", "another version", "a folder"])
def test_a_broken_one_is_not_used_and_made_again(harm, random_model, file, tmp_path, monkeypatch):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.keras").write_bytes((random_model / "model.keras").read_bytes())
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    good, beside = file.read_bytes(), model / "model.tflite"
    beside.write_bytes(good)
    network = read_compiled(model)
    assert network is not None
    if harm == "a folder":
        beside.unlink()
        beside.mkdir()
    elif harm == "another version":
        monkeypatch.setattr(compiled, "VERSION", compiled.VERSION + 1)
    else:
        flipped = good[:1000] + bytes([good[1000] ^ 1]) + good[1001:]
        beside.write_bytes({"cut short": good[:-1000], "one bit": flipped, "empty": b""}[harm])
    assert read_compiled(model) is None
    monkeypatch.setattr(compiled, "write_litert", lambda _, path, pictures: path.write_bytes(network))
    made = compile_model(model)
    assert made.is_relative_to(tmp_path / "cache") and read_compiled(model) == network


def test_one_that_answers_otherwise_is_refused(random_model, tmp_path, monkeypatch, file):
    from cifar_model.models.network import load_network

    other = load_network(random_model)
    other.set_weights([1.3 * weight for weight in other.get_weights()])
    network = read_compiled(random_model)
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "write_litert", lambda _, path, pictures: path.write_bytes(network))
    with pytest.raises(ModelError, match="answers otherwise than Keras"):
        compile_model(random_model, other)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_browsers_fetch_the_very_file_from_the_cache(random_model, file, tmp_path, monkeypatch):
    assert compiled_file(random_model) == file
    model, cache = tmp_path / "model", tmp_path / "cache"
    model.mkdir()
    (model / "model.keras").write_bytes((random_model / "model.keras").read_bytes())
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(cache))
    assert compiled_file(model) is None and not cache.exists()
    (model / "model.tflite").write_bytes(file.read_bytes())
    copied = compiled_file(model)
    assert copied.parent == compiled_folder() and copied.read_bytes() == file.read_bytes()
    assert compiled_file(model) == compiled_file(model / "model.keras") == copied
    (model / "model.keras").write_bytes(b"another")
    assert compiled_file(model) is None  # what lies beside is of the network before
    with pytest.raises(ModelError, match="can't be read"):
        compiled_file(tmp_path / "nowhere.keras")
    (model / "model.keras").write_bytes((random_model / "model.keras").read_bytes())
    (tmp_path / "taken").touch()
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "taken"))
    with pytest.raises(LabError, match="Set CIFAR_LAB_CACHE to a folder that can be written to"):
        compiled_file(model)


def test_old_ones_go_first(tmp_path, monkeypatch, random_model, file):
    network = read_compiled(random_model)
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "KEPT", 3)
    (tmp_path / "compiled").mkdir()
    for age in range(5):
        old = tmp_path / "compiled" / f"{age}.tflite"
        old.write_bytes(b"")
        os.utime(old, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compiled, "write_litert", lambda _, path, pictures: path.write_bytes(network))
    made = compile_model(random_model)
    assert {path.name for path in (tmp_path / "compiled").iterdir()} == {made.name, "0.tflite", "1.tflite"}
