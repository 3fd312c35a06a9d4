"""Bring a model and take one along, on the Models page: the work itself is real."""

import io
import json
import shutil
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from app_fakes import FakeWorker, lab, words  # noqa: F401
from helpers import make_pictures

from cifar_model.answering.classifier import Classifier
from cifar_model.app.shared import owner, resources
from cifar_model.models.card import load_card
from cifar_model.models.folder import ModelInfo
from cifar_model.models.network import load_network
from cifar_model.networks.backend import import_keras
from cifar_model.storage import runs_dir

all_models = resources.models


class Here(FakeWorker):
    """Does jobs in this process."""

    def close(self):
        pass


@pytest.fixture
def page(lab, monkeypatch, random_model, tmp_path):  # noqa: F811
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(resources, "Worker", Here)
    # AppTest's visitor has an address that is none.
    monkeypatch.setattr("cifar_model.app.models.bring.is_owner", lambda: True)
    info = ModelInfo("random", random_model, "random", {}, "run")
    monkeypatch.setattr(resources, "models", lambda: [info])
    return lab


def give(at, name, content):
    at.file_uploader(key="models_bring_file").set_value((name, content, "application/octet-stream"))
    at.run()
    return at


def press(at, label):
    next(button for button in at.button if button.label == label).click()
    return at.run()


def test_a_model_that_comes_into_the_folder_is_listed_at_once(page, random_model):
    def listed():
        return "from-elsewhere" in {model.name for model in all_models()}

    assert not listed()
    (runs_dir() / ".coming").mkdir(parents=True)
    shutil.copy(random_model / "model.keras", runs_dir() / ".coming")
    assert not listed()
    (runs_dir() / ".coming").rename(runs_dir() / "from-elsewhere")
    assert listed()


def test_an_upload_becomes_a_model_and_is_chosen(page, random_model, monkeypatch):
    monkeypatch.setattr(resources, "models", all_models)
    at = page.open("models", show="files")
    give(at, "My net.keras", (random_model / "model.keras").read_bytes())
    at = press(at, "Bring it in")
    assert not at.exception and not at.error, at.error
    assert at.selectbox(key="model").value == "My-net"
    assert "**My-net** is here now" in at.success[0].value and "network of this lab" in at.success[0].value
    assert load_card(runs_dir() / "My-net")["imported"]["file"] == "My net.keras"
    images = make_pictures(1, 1)[0]
    assert np.array_equal(Classifier("My-net").predict(images), Classifier(random_model).predict(images))


def test_what_is_no_model_is_told_and_another_can_be_tried(page):
    at = give(page.open("models", show="files"), "mine.keras", b"not a model")
    at = press(at, "Bring it in")
    assert "damaged, or something else" in at.error[0].value and not at.exception
    assert not (runs_dir() / "mine").exists()
    at = press(at, "Try another file")
    assert at.file_uploader(key="models_bring_file") is not None


def test_a_lambda_layer_is_refused(page, tmp_path):
    keras = import_keras()
    network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Lambda(lambda x: x), keras.layers.Flatten(),
                                keras.layers.Dense(10)])  # fmt: skip
    network.save(tmp_path / "mine.keras")
    at = press(
        give(page.open("models", show="files"), "mine.keras", (tmp_path / "mine.keras").read_bytes()), "Bring it in"
    )
    assert "Lambda layer" in at.error[0].value


def test_other_formats_are_not_taken_from_uploads(page):
    at = press(
        give(page.open("models", show="files"), "mine.keras", b"\x1c\x00\x00\x00TFL3" + bytes(64)), "Bring it in"
    )
    assert "is no .keras or .h5 file" in at.error[0].value


def test_a_name_that_is_taken_and_classes_that_are_not_ten(page, random_model):
    (runs_dir() / "mine").mkdir(parents=True)
    at = give(page.open("models", show="files"), "mine.keras", (random_model / "model.keras").read_bytes())
    at = press(at, "Bring it in")
    assert "A model named 'mine' exists already" in at.error[0].value
    at.text_input(key="models_bring_name").set_value("other")
    at.text_input(key="models_bring_classes").set_value("cat, dog")
    assert "all ten" in press(at, "Bring it in").error[0].value


@pytest.mark.parametrize(
    ("address", "headers", "allowed"),
    [
        (None, {}, True),
        (None, {"Host": "localhost:8501"}, True),
        (None, {"Host": "127.0.0.1:8501"}, True),
        (None, {"Host": "[::1]:8501"}, True),
        (None, {"Host": "localhost:8501", "Origin": "http://localhost:8501"}, True),
        (None, {"Host": "127.0.0.1:8501", "Origin": "https://lab.example.org"}, False),  # a proxy that tells nothing
        (None, {"Host": "localhost:8501", "Origin": "http://[bad"}, False),
        ("::ffff:127.0.0.1", {"Host": "localhost:8501"}, True),
        ("nonsense", {"Host": "localhost:8501"}, False),
        (None, {"Host": "lab.example.org"}, False),
        (None, {"Host": "localhost:8501", "X-Forwarded-For": "203.0.113.7"}, False),
        ("192.0.2.4", {"Host": "192.0.2.1:8501"}, False),
    ],
)
def test_who_sits_at_the_machine(monkeypatch, address, headers, allowed):
    fake = SimpleNamespace(session_state={}, context=SimpleNamespace(ip_address=address, headers=headers))
    monkeypatch.setattr(owner, "st", fake)
    assert owner.is_owner() is allowed
    monkeypatch.setenv(owner.TEACHER_CODE, "chalk")  # then that alone counts
    assert not owner.is_owner()
    fake.session_state[owner.KNOWN] = True
    assert owner.is_owner()


def test_others_need_the_teachers_code(page, monkeypatch):
    monkeypatch.setattr("cifar_model.app.models.bring.is_owner", lambda: False)
    at = page.open("models", show="files")
    assert owner.TEACHER_CODE in words(at) and not any(i.key == "owner_code" for i in at.text_input)
    assert not any(one.key == "models_bring_file" for one in at.file_uploader)


def test_the_right_code_opens_the_door(page, monkeypatch):
    monkeypatch.setenv(owner.TEACHER_CODE, "chalk")
    known = lambda: bool(owner.st.session_state.get(owner.KNOWN))  # noqa: E731
    monkeypatch.setattr("cifar_model.app.models.bring.is_owner", known)
    at = page.open("models", show="files")
    at.text_input(key="owner_code").set_value("cheese").run()
    assert "not the code" in at.error[0].value
    at.text_input(key="owner_code").set_value("chalk").run()
    assert at.file_uploader(key="models_bring_file") is not None and not at.error


def test_a_model_is_taken_along(page, random_model, tmp_path):
    at = page.open("models", show="files")
    assert at.checkbox(key="models_take_calibrated").disabled  # this model has no calibration
    at.selectbox(key="models_take_format").set_value("keras").run()
    at = press(at, "Prepare")
    assert not at.exception and not at.error
    assert "largest difference of a probability" in words(at)
    packed, check = resources.taken(random_model, "random", "keras", False).result()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert sorted(archive.namelist()) == [
            f"random-keras/{name}" for name in ("README.txt", "check.json", "classes.txt", "model.keras")
        ]
        assert json.loads(archive.read("random-keras/check.json")) == check
        archive.extractall(tmp_path)
    images = make_pictures(1, 1)[0]
    found = load_network(tmp_path / "random-keras" / "model.keras").predict_on_batch(images)
    assert np.abs(found - Classifier(random_model).predict(images)).max() < 1e-6
