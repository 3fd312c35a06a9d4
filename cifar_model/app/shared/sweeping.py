"""The answers to all mixes of two pictures, by threads that step back for what somebody else waits for."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.networks.litert import INTERPRETERS

AT_A_TIME = 7  # frames: as many as LiteRT leaves to one thread
KEPT = 200  # sweeps that nobody looks at any more, 15 kB each
NICE = 5  # of the threads: the answers of a sweep are a hundred, others ask for one
GIVES_WAY = 2.0  # seconds that a part of a sweep lets others go first, at most
CROWD, CROWD_SECONDS = 3, 1.0  # as many answers in that time: who asks is not alone, and the pages need the processor


class Sweep:
    """Begins at once to ask a model for all frames uint8 (n, 32, 32, 3), a few at a time; `ask` is what answers."""

    def __init__(self, model: Path, frames: np.ndarray, ask: Callable[[Path, np.ndarray], Answer]):
        threads, starts = _threads(model), range(0, len(frames), AT_A_TIME)
        self._parts = [threads.submit(ask, model, frames[start : start + AT_A_TIME]) for start in starts]
        self._frames = len(frames)

    def __len__(self) -> int:
        return self._frames

    @property
    def done(self) -> int:
        """How many frames are answered."""
        return min(self._frames, AT_A_TIME * sum(part.done() for part in self._parts))

    @property
    def complete(self) -> bool:
        return all(part.done() and not part.cancelled() and part.exception() is None for part in self._parts)

    @property
    def failed(self) -> bool:
        """Whether some frames will not be answered."""
        return any(part.done() and (part.cancelled() or part.exception() is not None) for part in self._parts)

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


@dataclass
class _Looked:
    """A sweep, and how many visits look at it now."""

    sweep: Sweep
    visits: int = 0


class Sweeps:
    """The sweeps of all visitors: whoever comes first begins one, when all have left it ends. `ask` is what answers."""

    def __init__(self, ask: Callable[[Path, np.ndarray], Answer]):
        self.left: deque[tuple] = deque()  # keys that a visit left with its end, which may come at any moment
        self._answer = ask
        self._first = 0  # how many wait for an answer that is no sweep's
        self._asked: deque[float] = deque([-math.inf] * CROWD, maxlen=CROWD)  # when the last of them began to
        self._calm = threading.Condition()
        self._lock = threading.Lock()
        self._looked: OrderedDict[tuple, _Looked] = OrderedDict()

    def __len__(self) -> int:
        self.leave([])
        return len(self._looked)

    @contextmanager
    def first(self) -> Iterator[None]:
        """While somebody waits for an answer of their own, sweeps give way."""
        with self._calm:
            self._first += 1
            self._asked.append(time.monotonic())
        try:
            yield
        finally:
            with self._calm:
                self._first -= 1
                self._calm.notify_all()

    def _ask(self, model: Path, frames: np.ndarray) -> Answer:
        end = time.monotonic() + GIVES_WAY
        with self._calm:
            while (self._first or time.monotonic() - self._asked[0] < CROWD_SECONDS) and time.monotonic() < end:
                self._calm.wait(0.1)
        return self._answer(model, frames)

    def enter(self, key: tuple, model: Path, frames: np.ndarray) -> Sweep:
        """Look at a sweep, one more than before; begin it where there is none, or one that failed."""
        with self._lock:
            looked = self._looked.get(key)
            if looked is None or looked.sweep.failed:
                looked = _Looked(Sweep(model, frames, self._ask), looked.visits if looked else 0)
            self._looked[key] = looked
            self._looked.move_to_end(key)
            looked.visits += 1
            unseen = [key for key, one in self._looked.items() if not one.visits]
            for old in unseen[: max(0, len(self._looked) - KEPT)]:
                del self._looked[old]
            return looked.sweep

    def leave(self, keys: Iterable[tuple]) -> None:
        """Look at these no more: what is not complete then, and nobody else looks at, ends."""
        with self._lock:
            for key in (*keys, *(self.left.popleft() for _ in range(len(self.left)))):
                looked = self._looked.get(key)
                if looked is None:  # it could not be begun
                    continue
                looked.visits -= 1
                if not (looked.visits or looked.sweep.complete):
                    looked.sweep.give_up()
                    del self._looked[key]


class Looking:
    """The sweeps that one visit looks at; when the visit has ended, none."""

    def __init__(self, sweeps: Sweeps):
        self._sweeps = sweeps
        self._keys: list[tuple] = []
        # Without a lock: the garbage collector may come while this very thread holds it.
        weakref.finalize(self, sweeps.left.extend, self._keys)

    def at(self, models: Iterable[tuple[Path, tuple | None]], frames: np.ndarray) -> list[Sweep]:
        """From now on look at the answers of models, each with its version, to frames uint8 (n, 32, 32, 3) alone."""
        content = hashlib.blake2b(frames.tobytes(), digest_size=16).digest()
        before, self._keys[:] = self._keys[:], [(*model, content) for model in models]
        found = [self._sweeps.enter(key, key[0], frames) for key in self._keys]
        self._sweeps.leave(before)  # after entering: what is looked at again goes on
        return found


@lru_cache(maxsize=32)
def _threads(model: Path) -> ThreadPoolExecutor:
    """A model's own: one that Keras has yet to load keeps nobody else waiting."""
    return ThreadPoolExecutor(INTERPRETERS, thread_name_prefix="sweep", initializer=_step_back)


def _step_back() -> None:
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
