"""A network in a LiteRT file, asked by many at once and without TensorFlow."""

import importlib.util
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from cifar_model.networks.backend import without_chatter

# More than four gain nothing on 32×32 pictures. Each has one thread, which a busy machine slows least.
INTERPRETERS = max(1, min(4, os.cpu_count() or 1))
_SHARE = 4  # pictures that are worth another thread


def litert_available() -> bool:
    """Whether LiteRT is installed here: some platforms have no wheel of it."""
    return importlib.util.find_spec("ai_edge_litert") is not None


class LiteRTNetwork:
    """A network compiled for one picture at a time: a batch is no quicker here, and costs memory.

    Threads may ask at once. An interpreter serves one thread, so there is a pool of them, made as they are needed.

    Parameters
    ----------
    content : a LiteRT file, from float32 (1, 32, 32, 3), pixels 0–255, to float32 (1, 10) and perhaps features (1, d)
    interpreters : how many may work at a time, at most INTERPRETERS

    Attributes
    ----------
    has_features : bool, whether it answers features too

    Raises
    ------
    Exception
        LiteRT can't read the file, or can't be loaded: it raises many kinds.
    """

    def __init__(self, content: bytes, interpreters: int = INTERPRETERS):
        self._content = content
        self._many = min(interpreters, INTERPRETERS)
        self._places = threading.BoundedSemaphore(self._many)
        first = _first_interpreter(content)
        self._idle = deque([first])
        self.has_features = len(first.outputs) > 1

    def answer(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Numbers (n ≥ 1, 32, 32, 3), 0–255 → probabilities float32 (n, 10) and, if it has them, features (n, d).

        A picture's answer does not depend on those beside it.
        """
        parts = np.array_split(pixels, max(1, min(self._many, len(pixels) // _SHARE)))
        answers = list(_threads().map(self._run, parts)) if len(parts) > 1 else [self._run(parts[0])]
        return [np.concatenate(output) for output in zip(*answers, strict=True)]

    def _run(self, pixels: np.ndarray) -> list[np.ndarray]:
        with self._places:
            try:
                interpreter = self._idle.pop()
            except IndexError:
                interpreter = _Interpreter(self._content)
            answers = [interpreter.run(picture) for picture in pixels]
            self._idle.append(interpreter)  # not one that failed
        return [np.concatenate(output) for output in zip(*answers, strict=True)]


class _Interpreter:
    """One thread at a time. `run` lets go of Python's lock while it computes."""

    def __init__(self, content: bytes):
        from ai_edge_litert.interpreter import Interpreter  # some platforms have none

        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        # In the order in which the network names them, which is not that of their indices.
        named = self._interpreter.get_signature_runner().get_output_details()
        self.outputs = [named[name]["index"] for name in sorted(named)]

    def run(self, picture: np.ndarray) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, np.asarray(picture[None], np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self.outputs]


_quiet = threading.Lock()
_announced = threading.Event()


def _first_interpreter(content: bytes) -> _Interpreter:
    """An interpreter, without the line that LiteRT writes to the terminal once in a process."""
    with _quiet:
        if _announced.is_set():
            return _Interpreter(content)
        with without_chatter():
            interpreter = _Interpreter(content)
        _announced.set()
        return interpreter


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(INTERPRETERS, thread_name_prefix="litert")
