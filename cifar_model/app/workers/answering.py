"""Answers for the app: by LiteRT in the app's own process, by a process with Keras for what has no compiled form."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.answering.classifier import Classifier
from cifar_model.answering.engines import LITERT
from cifar_model.app.workers.process import Worker
from cifar_model.errors import LabError, ModelError
from cifar_model.models.compiled import can_compile, read_compiled
from cifar_model.models.folder import find_model, model_version
from cifar_model.storage import assets_dir

logger = logging.getLogger(__name__)

KEPT_MODELS = 6  # 50 MB each for lab-net
SETTLED_SECONDS = 60.0  # a run's network that is younger will soon be another: it isn't worth compiling
RETRY_SECONDS = 1800.0  # after a compilation that failed


class Answering:
    """Asked by many threads at once. LiteRT lets go of Python's lock while it computes, so no page stands still.

    A model without a compiled form is answered by Keras, in a process that starts then, and compiled meanwhile.

    keras : the process with Keras
    compile : has a model compiled in the background
    first : a model to be ready for, before anybody asks
    """

    def __init__(self, keras: Worker, compile: Callable[[Path], Future], first: Path | None = None):
        self._keras, self._compile = keras, compile
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._classifiers: OrderedDict[Path, tuple[tuple, Classifier | None]] = OrderedDict()
        self._tried: dict[tuple, float] = {}  # model and version: when it was last compiled
        self._ready = threading.Event()
        threading.Thread(target=self._warm_up, args=(first,), daemon=True, name="warm-up").start()

    def wait(self, seconds: float) -> bool:
        """Whether the first model can be asked, at the latest after so many seconds."""
        return self._ready.wait(seconds)

    def ask(self, model: Path, pixels: np.ndarray) -> Answer:
        """What a model makes of uint8 (n, 32, 32, 3).

        Raises ModelError as `Classifier`, WorkerError where Keras is needed and can't be started.
        """
        classifier = self._compiled(model)
        if classifier is not None:
            return classifier.examine(pixels)
        answer = self._keras.call("answer", model, pixels)
        self._have_compiled(model)
        return answer

    def _warm_up(self, first: Path | None) -> None:
        try:
            if first is not None:
                self.ask(first, np.zeros((1, 32, 32, 3), np.uint8))
        except LabError as error:  # told to whoever asks
            logger.warning("the first model can't be asked: %s", error)
        finally:
            self._ready.set()

    def _compiled(self, model: Path) -> Classifier | None:
        version = model_version(model)
        with self._lock:
            kept = self._classifiers.get(model)
            if kept is not None and kept[0] == version:
                self._classifiers.move_to_end(model)
                return kept[1]
        if read_compiled(find_model(model)) is None:
            return None
        with self._loading:
            with self._lock:
                kept = self._classifiers.get(model)
            if kept is None or kept[0] != version:
                try:
                    kept = version, Classifier(model, engine=LITERT)
                except ModelError:  # LiteRT fails, as the log says, or isn't wanted
                    kept = version, None
                with self._lock:
                    self._classifiers[model] = kept
                    while len(self._classifiers) > KEPT_MODELS:
                        self._classifiers.popitem(last=False)
        return kept[1]

    def _have_compiled(self, model: Path) -> None:
        version = model_version(model)
        if version is None or not can_compile():
            return
        shipped = model.is_relative_to(assets_dir())
        if not shipped and time.time() - version[0] / 1e9 < SETTLED_SECONDS:
            return
        with self._lock:
            known = self._tried.get((model, version))
            if known is not None and time.monotonic() - known < RETRY_SECONDS:
                return
            self._tried[model, version] = time.monotonic()
        try:
            self._compile(model).add_done_callback(lambda job: _told(model, job))
        except LabError as error:
            logger.warning("%s can't be compiled: %s", model, error)


def _told(model: Path, job: Future) -> None:
    if not job.cancelled() and (error := job.exception()) is not None:
        logger.warning("%s can't be compiled, so Keras answers: %s", model, error)
