"""Networks as browsers take them; the oracle is Keras on the same picture."""

import shutil

import numpy as np
import pytest

from cifar_model.answering import one_picture
from cifar_model.answering.one_picture import make_one_picture, one_picture_file
from cifar_model.errors import ModelError
from cifar_model.models.layout import MODEL_FILE
from cifar_model.models.network import load_network


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))


def test_answers_as_keras_does(random_model):
    import tensorflow as tf

    file = make_one_picture(random_model)
    interpreter = tf.lite.Interpreter(str(file))
    interpreter.allocate_tensors()
    (taken,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert taken["shape_signature"].tolist() == [1, 32, 32, 3] and taken["dtype"] == np.float32
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    expected = load_network(random_model).predict_on_batch(pictures)
    for picture, probabilities in zip(pictures, expected, strict=True):
        interpreter.set_tensor(taken["index"], picture[None])
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(answered["index"])[0], probabilities, atol=1e-5)


def test_is_made_once_for_each_content(random_model, tmp_path, monkeypatch):
    file = make_one_picture(random_model)
    shutil.copytree(random_model, tmp_path / "copy")
    monkeypatch.setattr(one_picture, "load_network", lambda path: pytest.fail("made again"))
    assert make_one_picture(tmp_path / "copy") == make_one_picture(tmp_path / "copy" / MODEL_FILE) == file
    assert not list(file.parent.glob(".*"))
    (tmp_path / "copy" / MODEL_FILE).write_bytes(b"another")
    assert one_picture_file(tmp_path / "copy") != file


def test_only_so_many_are_kept(random_model, monkeypatch):
    folder = one_picture.one_picture_folder()
    for number in range(one_picture.KEPT + 2):
        (folder / f"{number}.tflite").write_bytes(b"old")
    file = make_one_picture(random_model)
    assert file.is_file() and len(list(folder.glob("*.tflite"))) == one_picture.KEPT


def test_says_what_is_wrong(random_model, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="can't be read"):
        one_picture_file(tmp_path / "nowhere.keras")
    (tmp_path / "broken.keras").write_bytes(b"no network")
    with pytest.raises(ModelError, match="can't be loaded as a Keras model"):
        make_one_picture(tmp_path / "broken.keras")
    assert not list(one_picture.one_picture_folder().iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="Set CIFAR_LAB_CACHE to a folder that can be written"):
        one_picture_file(random_model)
