"""The answers to all mixes of two pictures, by threads that step back for what somebody else waits for."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.networks.litert import INTERPRETERS

AT_A_TIME = 7  # frames: as many as LiteRT leaves to one thread
THREADS = max(1, INTERPRETERS - 1)  # an interpreter is left to others
NICE = 5  # of the threads: the answers of a sweep are a hundred, others ask for one


class Sweep:
    """Begins at once to ask a model for all frames uint8 (n, 32, 32, 3), a few at a time; `ask` is what answers."""

    def __init__(self, model: Path, frames: np.ndarray, ask: Callable[[Path, np.ndarray], Answer]):
        threads, starts = _threads(model), range(0, len(frames), AT_A_TIME)
        self._parts = [threads.submit(ask, model, frames[start : start + AT_A_TIME]) for start in starts]
        self._frames = len(frames)

    @property
    def done(self) -> int:
        """How many frames are answered."""
        return min(self._frames, AT_A_TIME * sum(part.done() for part in self._parts))

    @property
    def complete(self) -> bool:
        return all(part.done() and not part.cancelled() and part.exception() is None for part in self._parts)

    def wait(self, seconds: float) -> bool:
        """Whether all are answered, at the latest after so many seconds. Raises what `ask` raised."""
        over, waiting = wait(self._parts, seconds, FIRST_EXCEPTION)
        for part in over:
            part.result()
        return not waiting

    def answer(self) -> Answer:
        """The answers to all frames; waits for them."""
        return Answer.join([part.result() for part in self._parts])

    def give_up(self) -> None:
        """Ask for no more frames."""
        for part in self._parts:
            part.cancel()


@lru_cache(maxsize=32)
def _threads(model: Path) -> ThreadPoolExecutor:
    """A model's own: one that Keras has yet to load keeps nobody else waiting."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="sweep", initializer=_step_back)


def _step_back() -> None:
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
