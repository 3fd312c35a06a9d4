"""The Live page's words and failure paths, and the runtime beside it; the rest is tested in tests/browser."""

import gzip
import hashlib
import io
import json
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
from app_fakes import lab, words  # noqa: F401
from PIL import Image

from cifar_model.app.browser.files import FOLDER
from cifar_model.app.live.about import NO_SCOPE, about_model
from cifar_model.app.shared import resources
from cifar_model.errors import ModelError
from cifar_model.models.folder import ModelInfo
from cifar_model.trust.scope import METHOD

RUNTIME = FOLDER / "live" / "runtime"


@pytest.fixture
def live(lab, monkeypatch, tmp_path):  # noqa: F811
    """The app at Live, its network at hand; `live.wish(…)` is what the browser would send."""
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(resources, "browser_form", lambda model: tmp_path / "network.tflite")

    def wish(value):
        at = lab.open("live")
        at.session_state["live_wish"] = value
        return at.run()

    lab.wish = wish
    return lab


def picture_url(color="red", size=(64, 64)) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()


def test_opens_with_the_models_to_choose_from(live):
    live.models("lab-net", "seed-cnn")
    at = live.open("live")
    assert not at.exception and not at.error
    assert at.title[0].value == "Live" and at.selectbox(key="model").options == ["lab-net", "seed-cnn"]


def test_without_a_model_it_says_so(live):
    live.models()
    at = live.open("live")
    assert not at.exception and "There is no model on this machine yet" in words(at)


def test_a_network_that_cant_be_prepared_can_be_tried_again(live, monkeypatch, tmp_path):
    tried = []

    def fail(model):
        raise ModelError("The network of lab-net can't be turned into one for browsers: a layer.")

    monkeypatch.setattr(resources, "browser_form", fail)
    monkeypatch.setattr(resources, "try_browser_form_again", tried.append)
    at = live.open("live")
    assert at.error[0].value == "The network of lab-net can't be turned into one for browsers: a layer."
    monkeypatch.setattr(resources, "browser_form", lambda model: tmp_path / "network.tflite")
    at.button[0].click().run()
    assert tried == [Path("nowhere/lab-net")] and not at.error


def test_takes_a_picture_along_to_classify(live):
    asked = []

    def answer(_, pixels):
        asked.append(pixels)
        return np.tile(np.eye(10, dtype=np.float32)[6], (len(pixels), 1))

    live.answering.answer = answer
    at = live.wish({"to": "classify", "picture": picture_url("red")})
    assert not at.exception and not at.error
    assert at.title[0].value == "Classify"
    assert (asked[-1] == [255, 0, 0]).all()
    at.switch_page("pages/live.py").run()
    assert at.title[0].value == "Live"  # once is enough


def test_takes_a_picture_along_to_blend(live):
    at = live.wish({"to": "b", "picture": picture_url("blue")})
    assert not at.exception and not at.error
    assert at.title[0].value == "Blend"
    picture = at.session_state["blend"].pictures["b"]
    assert picture.name.startswith("live-") and (picture.pixels == [0, 0, 255]).all()


@pytest.mark.parametrize(
    "wish",
    [
        None,
        "classify",
        {"to": "../models", "picture": picture_url()},
        {"to": ["classify"], "picture": picture_url()},
        {"to": "classify", "picture": 7},
        {"to": "classify"},
    ],
)
def test_what_makes_no_sense_is_left_alone(live, wish):
    at = live.wish(wish)
    assert not at.exception and not at.error and at.title[0].value == "Live"


@pytest.mark.parametrize(
    "picture",
    ["https://example.org/x.png", "data:image/png;base64,***", picture_url()[:-9] + "A" * 7_000_000],
)
def test_a_picture_that_is_none_gets_a_message(live, picture):
    at = live.wish({"to": "classify", "picture": picture})
    assert at.error[0].value == "The picture that arrived from this page is damaged or too large. Take it again."


def test_hostile_bytes_are_refused_where_all_pictures_are(live):
    at = live.wish({"to": "a", "picture": "data:image/png;base64," + b64encode(b"junk").decode()})
    assert "this is not a picture in a known format (4 bytes)" in at.error[0].value


def test_the_card_for_the_browser():
    card = {
        "calibration": {"temperature": 2.0, "even_share": 0.5, "bins": [[1, 2, 3]]},
        "sets": {"method": "RAPS", "penalty": 0.1, "rank": 3, "levels": {"95": {"threshold": 1.0}}, "fitted_on": "x"},
        "scope": {"method": "spoilt pictures and class means", "threshold": -1.0},
    }
    about = about_model(ModelInfo("m", Path("m"), "m (90 %)", card, "run"), "a/b.tflite")
    assert about["calibration"] == {"temperature": 2.0, "even_share": 0.5}
    assert set(about["sets"]) == {"penalty", "rank", "levels"}
    assert (about["scope"], about["note"]) == (None, NO_SCOPE)
    card["scope"] = {"method": METHOD, "threshold": 0.4, "false_alarms": 0.05}
    about = about_model(ModelInfo("m", Path("m"), "m (90 %)", card, "run"), "a/b.tflite")
    assert (about["scope"], about["note"]) == ({"score": "generalisedEntropy", "threshold": 0.4}, "")
    about = about_model(ModelInfo("m@1", Path("m"), "m, epoch 1", card, "epoch"), None)
    assert (about["calibration"], about["sets"], about["scope"], about["note"]) == ({}, None, None, "")


def test_the_vendored_runtime_is_what_its_list_says():
    origin = json.loads((RUNTIME / "origin.json").read_text())
    assert {file.name for file in RUNTIME.iterdir()} == {"origin.json", *origin["files"]}
    for name, file in origin["files"].items():
        content = (RUNTIME / name).read_bytes()
        content = gzip.decompress(content) if name.endswith(".gz") else content
        for before, after in reversed(file.get("replaced", {}).items()):
            # What was cut off stood at the end.
            content = content.replace(after.encode(), before.encode()) if after else content + before.encode()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], name
