"""The Blend page's words and failure paths; what the browser draws is tested in tests/browser."""

import io

import numpy as np
import pytest
import streamlit as st
from app_fakes import FakeWorker, belief, lab, words  # noqa: F401
from PIL import Image

from cifar_model.app.workers.process import BROKEN
from cifar_model.errors import WorkerError
from cifar_model.pictures.fit import load_image
from cifar_model.pictures.mix import MODES, SYMMETRIC, sweep
from cifar_model.storage import assets_dir


def sample(name):
    return load_image(assets_dir() / "samples" / f"{name}.webp")


def link_of(at) -> dict:
    return {key: value[0] if isinstance(value, list) else value for key, value in at.query_params.items()}


def names_of(at) -> list[str]:
    return [at.session_state["blend"].pictures[slot].name for slot in ("a", "b")]


def test_opens_on_forty_per_cent_cat(lab):  # noqa: F811
    at = lab.open("blend")
    assert not at.exception and not at.error
    assert names_of(at) == ["cat", "dog"]
    assert link_of(at) == {"a": "cat", "b": "dog", "ratio": "40", "mode": "average", "model": "lab-net"}
    assert "The link in the address bar opens this very blend." in words(at)


@pytest.mark.parametrize("mode", MODES)
def test_each_way_to_mix_is_explained_and_asked_frame_by_frame(lab, mode):  # noqa: F811
    asked = {}

    def answer(_, pixels):
        asked.update({p.tobytes(): None for p in pixels})
        return np.tile(belief(frog=0.5), (len(pixels), 1))

    lab.answering = FakeWorker(answer)
    at = lab.open("blend", a="deer", b="horse", ratio="60", mode=mode)
    assert not at.exception
    assert MODES[mode] in words(at)
    assert link_of(at)["mode"] == mode
    assert set(asked) == {frame.tobytes() for frame in sweep(sample("deer"), sample("horse"), mode=mode)}
    assert max(n for _, n in lab.answering.asked) <= 16


def test_presets_swap_and_shuffle(lab):  # noqa: F811
    at = lab.open("blend")
    at.menu_button(key="preset").click_index(1).run()
    assert link_of(at) | {"a": "deer", "b": "horse", "ratio": "60"} == link_of(at)
    {button.label: button for button in at.button}["Swap"].click().run()
    assert link_of(at) | {"a": "horse", "b": "deer", "ratio": "40"} == link_of(at)
    {button.label: button for button in at.button}["Shuffle"].click().run()
    assert not at.exception and link_of(at)["a"] != link_of(at)["b"]


@pytest.mark.parametrize("mode", MODES)
def test_two_pictures_swapped_are_asked_for_again_only_where_their_mixes_are_others(lab, mode):  # noqa: F811
    def answer(_, pixels):  # one that tells every frame from every other
        share = pixels.reshape(len(pixels), -1).mean(1) / 255
        return np.stack([share, 1 - share, *np.zeros((8, len(pixels)))], axis=1).astype(np.float32)

    lab.answering = FakeWorker(answer)
    at = lab.open("blend", mode=mode, ratio="35")

    def check(a: str, b: str):
        (model,) = at.session_state["shown_live_blend"][0]["models"]
        expected = answer(None, sweep(sample(a), sample(b), mode=mode)[model["known"]])
        np.testing.assert_allclose(model["probabilities"], expected, atol=1e-5)

    check("cat", "dog")
    asked = len(lab.answering.asked)
    {button.label: button for button in at.button}["Swap"].click().run()
    assert not at.exception and link_of(at)["a"] == "dog"
    assert (len(lab.answering.asked) == asked) == (mode in SYMMETRIC)
    check("dog", "cat")


@pytest.mark.parametrize("ratio", ["-1", "101", "1e9", "NaN", "٤٠", "40.5", "0x10", "4" * 5000])
def test_hostile_ratio_is_left_out(lab, ratio):  # noqa: F811
    at = lab.open("blend", ratio=ratio)
    assert not at.exception
    assert at.warning[0].value == "Part of the link made no sense here and was left out: ratio."
    assert link_of(at)["ratio"] == "40"


def test_hostile_link_is_left_out(lab):  # noqa: F811
    at = lab.open("blend", a="<img src=x>", b="__class__", mode="rm -rf", model="../../etc,seed-cnn,a,b,c")
    assert not at.exception
    assert "names a model that isn't here" in at.warning[0].value
    assert at.warning[1].value == "Part of the link made no sense here and was left out: a, b, mode."
    assert "<img" not in words(at)
    assert link_of(at)["a"] == "cat"


def test_two_models_by_link(lab):  # noqa: F811
    lab.models("lab-net", "seed-cnn")
    at = lab.open("blend", model="seed-cnn,lab-net")
    assert not at.exception and not at.warning
    assert at.selectbox(key="model").value == "seed-cnn" and at.selectbox(key="second_model_beside").value == "lab-net"
    assert {name for name, _ in lab.answering.asked} == {"lab-net", "seed-cnn"}


def test_it_opens_with_the_network_that_learned_from_blends_beside_the_first(lab):  # noqa: F811
    lab.models("lab-net", "mix-net", "seed-cnn")
    at = lab.open("blend")
    assert not at.exception and link_of(at)["model"] == "lab-net,mix-net"
    assert {name for name, _ in lab.answering.asked} == {"lab-net", "mix-net"}
    at.selectbox(key="second_model_beside").set_value("seed-cnn").run()
    assert link_of(at)["model"] == "lab-net,seed-cnn"
    at.switch_page("pages/classify.py").run()
    assert link_of(at)["model"] == "lab-net" and at.selectbox(key="second_model").value == ""
    at.switch_page("pages/blend.py").run()
    assert link_of(at)["model"] == "lab-net,seed-cnn"
    assert link_of(lab.open("blend", model="lab-net"))["model"] == "lab-net"


def test_which_network_has_seen_blends_is_said(lab):  # noqa: F811
    lab.models("lab-net", "mix-net", cards={"mix-net": {"settings": {"mixup": 1.0}}})
    assert "mix-net was trained on blends of two images" in words(lab.open("blend"))
    assert "trained on blends" not in words(lab.open("blend", model="lab-net"))


def test_own_picture_stays_out_of_the_link(lab):  # noqa: F811
    file = io.BytesIO()
    Image.new("RGB", (50, 80), "red").save(file, "PNG")
    at = lab.open("blend")
    at.file_uploader(key="file_a").set_value(("my *red* [pic](x).png", file.getvalue(), "image/png")).run()
    assert not at.exception
    assert "a" not in link_of(at) and link_of(at)["b"] == "dog"
    assert "but not your own pictures" in words(at)
    assert names_of(at)[0] == "my *red* [pic](x).png"


def test_broken_own_picture_says_so_and_keeps_the_blend(lab):  # noqa: F811
    at = lab.open("blend")
    at.file_uploader(key="file_b").set_value(("x.jpg", b"junk", "image/jpeg")).run()
    assert not at.exception
    assert at.error[0].value.startswith("x.jpg: this is not a picture in a known format (4 bytes)")
    assert link_of(at)["b"] == "dog"


def test_use_in_blend_takes_a_picture_along(lab):  # noqa: F811
    at = lab.open(sample="truck")
    with lab.monkeypatch.context() as patch:  # AppTest has no hand for this kind of button
        patch.setattr(st, "menu_button", lambda *_, key, **__: "b" if key == "use_in_blend" else None)
        at.run()
    assert not at.exception and at.title[0].value == "Blend"
    assert names_of(at) == ["cat", "truck"] and link_of(at)["b"] == "truck"


def test_no_model_yet_still_mixes(lab):  # noqa: F811
    lab.models()
    at = lab.open("blend")
    assert not at.exception and not at.error
    assert "There is no model on this machine yet" in words(at)


def test_what_the_worker_says_is_shown(lab):  # noqa: F811
    lab.answering = FakeWorker(error=WorkerError(BROKEN))
    at = lab.open("blend")
    assert not at.exception
    assert at.error[0].value == BROKEN
