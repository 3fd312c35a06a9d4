"""A scripted worker for tests of the pages: decoding and mixing are real, the answers are what the test says."""

import io
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from cifar_model.answering.answer import Answer
from cifar_model.app.shared import resources
from cifar_model.app.workers.jobs import JOBS
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo

ROOT = Path(__file__).resolve().parents[1]


def jpeg(color, size=(60, 40)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "JPEG")
    return file.getvalue()


def upload(at, *files):
    at.file_uploader[0].set_value([(name, data, "image/jpeg") for name, data in files])
    return at.run()


def belief(**probabilities: float) -> np.ndarray:
    """float32 (10,): the classes named, the rest shared among the others."""
    rest = (1 - sum(probabilities.values())) / (len(CLASS_NAMES) - len(probabilities))
    return np.array([probabilities.get(name, rest) for name in CLASS_NAMES], np.float32)


class FakeWorker:
    """Does jobs at once and in this process; `answer` is the test's: (model name, pixels) → float32 (n, 10)
    or an Answer."""

    def __init__(self, answer=None, error: Exception | None = None):
        self.answer, self.error = answer, error
        self.asked: list[tuple[str, int]] = []

    def wait(self, seconds: float) -> bool:
        if self.error:
            raise self.error
        return True

    def call(self, job, *arguments, **_):
        return self.submit(job, *arguments).result()

    def ask(self, model, pixels, **_) -> Answer:
        return self.call("answer", model, pixels)

    def submit(self, job, *arguments, **_) -> Future:
        future = Future()
        try:
            future.set_result(self._do(job, *arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def _do(self, job, *arguments):
        if self.error:
            raise self.error
        if job != "answer":
            return JOBS[job](*arguments)
        model, pixels = arguments
        self.asked.append((model.name, len(pixels)))
        answer = self.answer(model.name, pixels)
        return answer if isinstance(answer, Answer) else Answer(answer, answer)


class Lab:
    """The app with scripted answers; `models` are names, `answer` as in FakeWorker."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.monkeypatch = monkeypatch
        self.drawing = FakeWorker()
        self.answering = FakeWorker(lambda model, pixels: np.tile(belief(cat=0.83), (len(pixels), 1)))
        monkeypatch.setattr(resources, "answering", lambda: self.answering)
        monkeypatch.setattr(resources, "explaining", lambda: self.answering)
        monkeypatch.setattr(resources, "drawing", lambda: self.drawing)
        self.models("lab-net")

    def models(self, *names: str, cards: dict[str, dict] | None = None) -> None:
        cards = cards or {}
        infos = [ModelInfo(name, Path("nowhere") / name, name, cards.get(name, {}), "bundled") for name in names]
        self.monkeypatch.setattr(resources, "models", lambda: infos)

    def open(self, page: str = "classify", **link: str) -> AppTest:
        """The app at a page, as a link leads to it."""
        at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=60)
        at.switch_page(f"pages/{page}.py")
        for name, value in link.items():
            at.query_params[name] = value
        return at.run()


@pytest.fixture
def lab(monkeypatch):
    st.cache_data.clear()
    st.cache_resource.clear()
    yield Lab(monkeypatch)
    st.cache_data.clear()
    st.cache_resource.clear()


def words(at: AppTest) -> str:
    """All that the page says, in one string."""
    kinds = (at.title, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)
