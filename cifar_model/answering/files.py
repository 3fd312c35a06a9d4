"""Picture files answered one by one."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.answering.classifier import BATCH_SIZE, Classifier
from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ImageError
from cifar_model.pictures.fit import load_picture


@dataclass(frozen=True)
class FileAnswer:
    """What came of one file: pixels uint8 (32, 32, 3) and the answer to this one picture, or else an error.

    `notes` say how the file was read (`pictures.decode.read_picture`).
    """

    path: Path
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

    Files are decoded by threads ahead of the network, two batches at most, so memory does not grow with their
    number.
    """
    waiting = iter(map(Path, paths))
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="decode")
    try:
        decoding = deque((path, pool.submit(load_picture, path)) for path in islice(waiting, 2 * batch_size))
        while decoding:
            answers, pictures = [], []
            while decoding and len(answers) < batch_size:
                path, future = decoding.popleft()
                for following in islice(waiting, 1):
                    decoding.append((following, pool.submit(load_picture, following)))
                try:
                    pixels, notes = future.result()
                    pictures.append(pixels)
                    answers.append((path, None, notes))
                except ImageError as error:
                    answers.append((path, str(error), ()))
            stacked = np.array(pictures, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)
            found = classifier.examine(stacked, batch_size=batch_size)
            rows = iter(range(len(pictures)))
            for path, error, notes in answers:
                if error:
                    yield FileAnswer(path, error=error)
                    continue
                i = next(rows)
                yield FileAnswer(path, pictures[i], found[i], notes=notes)
    finally:
        pool.shutdown(cancel_futures=True)
