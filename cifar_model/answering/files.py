"""Picture files answered one by one."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.answering.classifier import BATCH_SIZE, Classifier
from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ImageError
from cifar_model.pictures.fit import load_picture

Name = TypeVar("Name", str, Path)


@dataclass(frozen=True)
class FileAnswer:
    """What came of one file: pixels uint8 (32, 32, 3) and the answer to this one picture, or else an error.

    `path` is what named it: a path, or the address of a file elsewhere. `notes` say how the file was read
    (`pictures.decode.read_picture`).
    """

    path: Path | str
    pixels: np.ndarray | None = None
    answer: Answer | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()


def classify_files(
    classifier: Classifier,
    paths: Iterable[str | os.PathLike],
    *,
    batch_size: int = BATCH_SIZE,
) -> Iterator[FileAnswer]:
    """Answer picture files one by one, in the order given; an unreadable one gets an answer with an error.

    As `classify_each`, with a decoder for each CPU, four at most.
    """
    decoders = min(4, os.cpu_count() or 1)
    return classify_each(classifier, map(Path, paths), load_picture, batch_size=batch_size, decoders=decoders)


def classify_each(
    classifier: Classifier,
    names: Iterable[Name],
    load: Callable[[Name], tuple[np.ndarray, tuple[str, ...]]],
    *,
    batch_size: int = BATCH_SIZE,
    decoders: int = 1,
) -> Iterator[FileAnswer]:
    """Answer the pictures that `load` makes of names; it gives what `fit.load_picture` does, and raises ImageError.

    Files are decoded by threads ahead of the network, two batches at most, so memory does not grow with their
    number.
    """
    waiting = iter(names)
    pool = ThreadPoolExecutor(decoders, thread_name_prefix="decode")
    try:
        decoding = deque((name, pool.submit(load, name)) for name in islice(waiting, 2 * batch_size))
        while decoding:
            answers, pictures = [], []
            while decoding and len(answers) < batch_size:
                name, future = decoding.popleft()
                for following in islice(waiting, 1):
                    decoding.append((following, pool.submit(load, following)))
                try:
                    pixels, notes = future.result()
                    pictures.append(pixels)
                    answers.append((name, None, notes))
                except ImageError as error:
                    answers.append((name, str(error), ()))
            stacked = np.array(pictures, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)
            found = classifier.examine(stacked, batch_size=batch_size)
            rows = iter(range(len(pictures)))
            for name, error, notes in answers:
                if error:
                    yield FileAnswer(name, error=error)
                    continue
                i = next(rows)
                yield FileAnswer(name, pictures[i], found[i], notes=notes)
    finally:
        pool.shutdown(cancel_futures=True)
