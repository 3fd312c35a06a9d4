"""What the app's worker processes do: `python -m cifar_model.ui.jobs` reads requests and writes replies.

Requests and replies are pickles on the process's own pipes, from and to `worker.Worker` alone. TensorFlow is
imported by the first job that asks a network, Altair by the first that draws.
"""

import base64
import io
import logging
import os
import pickle
import signal
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_model import blending, images
from cifar_model.errors import LabError, WorkerError
from cifar_model.models import MODEL_FILE

PREVIEW_SIZE, THUMBNAIL_SIZE = (560, 560), (240, 168)  # pixels: a picture alone, and in a gallery
KEPT_MODELS = 6

logger = logging.getLogger("cifar_model.worker")


@dataclass(frozen=True)
class Picture:
    """A picture that was admitted: what arrived, small enough for a browser, and what a network sees."""

    name: str
    width: int  # of the decoded picture, upright
    height: int
    preview: str  # data URL of the whole picture, at most PREVIEW_SIZE
    thumbnail: str  # data URL of the whole picture, at most THUMBNAIL_SIZE
    pixels: np.ndarray  # uint8 (32, 32, 3)


def prepare(source: bytes | Path, name: str, position: tuple[float, float] = (0.5, 0.5)) -> Picture:
    """Decode a picture and cut out its square; ImageError as `images.decode_image`."""
    image = images.decode_image(source, name=name)
    pixels = images.fit_image(image, position=position)
    return Picture(name, *image.size, _data_url(image, PREVIEW_SIZE), _data_url(image, THUMBNAIL_SIZE), pixels)


def _data_url(image: Image.Image, size: tuple[int, int]) -> str:
    image = image.copy()
    image.thumbnail(size)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=85, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def mix(a: np.ndarray, b: np.ndarray, mode: str) -> tuple[np.ndarray, str]:
    """All 101 mixes of two pictures: uint8 (101, 32, 32, 3), and one PNG of them as a data URL.

    Row r of frame f is row 101·r + f of the PNG: neighbouring rows then differ little, and it packs small.
    """
    frames = blending.sweep(a, b, mode=mode)
    return frames, images.data_url(frames.transpose(1, 0, 2, 3).reshape(-1, *frames.shape[2:]))


def answer(model: Path, pixels: np.ndarray) -> np.ndarray:
    """Ask a model about uint8 (n, 32, 32, 3): float32 (n, 10). It is loaded again when its file changes."""
    file = model / MODEL_FILE if model.is_dir() else model
    try:
        status = file.stat()
        stamp = (status.st_mtime_ns, status.st_size)
    except OSError:
        stamp = None  # gone: find_model says so, with the models that exist
    kept = _classifiers.get(model)
    if kept is None or kept[0] != stamp:
        from cifar_model.classifier import Classifier

        classifier = Classifier(model)
        classifier.warm_up()
        _classifiers[model] = kept = (stamp, classifier)
    _classifiers.move_to_end(model)
    while len(_classifiers) > KEPT_MODELS:
        _classifiers.popitem(last=False)
    return kept[1].predict(pixels)


_classifiers: OrderedDict[Path, tuple] = OrderedDict()


def draw_sweep(suffix: str, probabilities: np.ndarray, names: tuple[str, str], ratio: float, title: str) -> bytes:
    """The chart of a sweep (`figures.sweep_chart`) as the bytes of a .png or .svg file."""
    from cifar_model import figures

    chart = figures.sweep_chart(probabilities, names=names, ratio=ratio, title=title)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"chart{suffix}"
        figures.save_chart(chart, file)
        return file.read_bytes()


JOBS: dict[str, Callable] = {
    "prepare": prepare,
    "mix": mix,
    "answer": answer,
    "draw_sweep": draw_sweep,
    "hello": lambda: os.getpid(),
}


def main() -> None:
    """Serve until the app closes its end of the pipe, however it ends."""
    logging.basicConfig(level=logging.INFO, format="worker: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the app, which then closes the pipe
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not fall between the replies
    requests = os.fdopen(os.dup(0), "rb")
    while True:
        try:
            number, job, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = (number, True, JOBS[job](*arguments))
        except LabError as error:
            reply = (number, False, error)
        except Exception:
            logger.exception("job %s failed", job)
            reply = (number, False, WorkerError("Something went wrong here. The app's log has the details."))
        try:
            pickle.dump(reply, replies, pickle.HIGHEST_PROTOCOL)
            replies.flush()
        except OSError:  # nobody reads any more
            return


if __name__ == "__main__":
    # Under its own name too, so that the classes pickled here are those that the app imports.
    from cifar_model.ui import jobs

    sys.exit(jobs.main())
