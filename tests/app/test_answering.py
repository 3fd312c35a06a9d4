"""Answers in the app: LiteRT where a model is compiled, Keras until then, and what belongs to a card that changes."""

import os
import shutil
import sys
from concurrent.futures import Future

import numpy as np
import pytest

from cifar_model.answering.answer import Answer
from cifar_model.answering.classifier import Classifier
from cifar_model.app.workers.answering import SETTLED_SECONDS, Answering
from cifar_model.errors import ModelError, WorkerError
from cifar_model.models.compiled import compile_model
from cifar_model.models.layout import CARD_FILE, COMPILED_FILE, MODEL_FILE
from cifar_model.networks.litert import litert_available
from cifar_model.storage import write_json

PIXELS = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
needs_litert = pytest.mark.skipif(not litert_available(), reason="no LiteRT on this platform")


class Keras:
    """The process with Keras: answers what the test says, and counts."""

    def __init__(self, error: Exception | None = None):
        self.error, self.asked = error, 0

    def call(self, job, model, pixels, **_) -> Answer:
        self.asked += 1
        if self.error:
            raise self.error
        same = np.full((len(pixels), 10), 0.1, np.float32)
        return Answer(same, same)


def done(result=None, error=None) -> Future:
    future: Future = Future()
    future.set_exception(error) if error else future.set_result(result)
    return future


@pytest.fixture(scope="module")
def compiled_file(random_model, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        return compile_model(random_model)


@pytest.fixture
def model(random_model, tmp_path, monkeypatch):
    """A run that ended a while ago, without a compiled form anywhere."""
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    shutil.copytree(random_model, folder)
    then = (folder / MODEL_FILE).stat().st_mtime - SETTLED_SECONDS - 1
    os.utime(folder / MODEL_FILE, (then, then))
    return folder


@needs_litert
def test_keras_answers_until_the_model_is_compiled(model, compiled_file):
    compiled = []

    def compile(path):
        compiled.append(path)
        shutil.copy(compiled_file, model / COMPILED_FILE)
        return done()

    keras = Keras()
    asked = Answering(keras, compile)
    assert asked.wait(60)
    np.testing.assert_array_equal(asked.ask(model, PIXELS).raw, np.float32(0.1))
    assert keras.asked == 1 and compiled == [model]
    wanted = Classifier(model, engine="litert").examine(PIXELS)
    np.testing.assert_array_equal(asked.ask(model, PIXELS).raw, wanted.raw)
    assert keras.asked == 1 and compiled == [model]


@needs_litert
def test_ready_once_the_first_model_is(model, compiled_file):
    shutil.copy(compiled_file, model / COMPILED_FILE)
    keras = Keras()
    asked = Answering(keras, lambda path: done(), model)
    assert asked.wait(60)
    asked.ask(model, PIXELS)
    assert not keras.asked


@needs_litert
def test_a_new_card_counts_at_once(model, compiled_file):
    shutil.copy(compiled_file, model / COMPILED_FILE)
    (model / CARD_FILE).unlink()  # as while it trains
    asked = Answering(Keras(), lambda path: done())
    before = asked.ask(model, PIXELS)
    np.testing.assert_array_equal(before.probabilities, before.raw)
    write_json(model / CARD_FILE, {"name": "run", "calibration": {"temperature": 3.0}})
    after = asked.ask(model, PIXELS)
    np.testing.assert_array_equal(after.raw, before.raw)
    np.testing.assert_array_equal(after.probabilities, Classifier(model).predict(PIXELS))
    assert np.abs(after.probabilities - before.probabilities).max() > 1e-3


def test_what_cannot_be_compiled_is_answered_by_keras_and_not_tried_each_time(model, monkeypatch):
    monkeypatch.setattr("cifar_model.app.workers.answering.can_compile", lambda: True)
    tries = []

    def compile(path):
        tries.append(path)
        return done(error=ModelError("It can't be turned into LiteRT."))

    keras = Keras()
    asked = Answering(keras, compile)
    for _ in range(3):
        asked.ask(model, PIXELS)
    assert keras.asked == 3 and len(tries) == 1


def test_what_is_still_being_trained_is_not_compiled(model):
    os.utime(model / MODEL_FILE)
    asked = Answering(Keras(), lambda path: pytest.fail("compiled"))
    asked.ask(model, PIXELS)


def test_without_litert_nothing_is_compiled(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    asked = Answering(Keras(), lambda path: pytest.fail("compiled"))
    asked.ask(model, PIXELS)


def test_a_process_that_cannot_start_is_told_to_whoever_asks(model):
    asked = Answering(Keras(WorkerError("The process that answers can't be started.")), lambda path: done(), model)
    assert asked.wait(60)
    with pytest.raises(WorkerError, match="can't be started"):
        asked.ask(model, PIXELS)


def test_a_model_that_is_gone_starts_no_process(tmp_path):
    keras = Keras()
    with pytest.raises(ModelError, match="No model"):
        Answering(keras, lambda path: done()).ask(tmp_path / "gone", PIXELS)
    assert not keras.asked
