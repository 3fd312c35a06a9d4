"""Picture files answered one by one."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from cifar_model.answering.classifier import BATCH_SIZE, Classifier
from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ImageError
from cifar_model.pictures.fit import load_picture


@dataclass(frozen=True)
class Answer:
    """What came of one file: pixels uint8 (32, 32, 3) and probabilities float32 (10,), or else an error.

    `members` bool (10,), `scope` and `in_scope` are as in `Examination`; `notes` say how the file was read
    (`pictures.decode.read_picture`).
    """

    path: Path
    pixels: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    error: str | None = None
    members: np.ndarray | None = None
    scope: float | None = None
    in_scope: bool | None = None
    notes: tuple[str, ...] = ()


def classify_files(
    classifier: Classifier,
    paths: Iterable[str | os.PathLike],
    *,
    level: int = 95,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Answer]:
    """Answer picture files one by one, in the order given; an unreadable one gets an answer with an error.

    `level` is that of the answer sets: 90, 95 or 99.

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
            found = classifier.examine(stacked, level=level, batch_size=batch_size)
            rows = iter(range(len(pictures)))
            for path, error, notes in answers:
                if error:
                    yield Answer(path, error=error)
                    continue
                i = next(rows)
                yield Answer(
                    path,
                    pictures[i],
                    found.probabilities[i],
                    members=None if found.sets is None else found.sets[i],
                    scope=None if found.scope is None else float(found.scope[i]),
                    in_scope=None if found.in_scope is None else bool(found.in_scope[i]),
                    notes=notes,
                )
    finally:
        pool.shutdown(cancel_futures=True)
