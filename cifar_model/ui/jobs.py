"""What the app's worker processes do: `python -m cifar_model.ui.jobs` reads requests and writes replies.

Requests and replies are pickles on the process's own pipes, from and to `worker.Worker` alone. TensorFlow is
imported by the first job that asks a network, Altair by the first that draws.
"""

import base64
import functools
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

from cifar_model import blending, images, surprise
from cifar_model.conformal import LEVELS, answer_sets
from cifar_model.errors import LabError, WorkerError
from cifar_model.models import MODEL_FILE

PREVIEW_SIZE, THUMBNAIL_SIZE = (560, 560), (240, 168)  # pixels: a picture alone, and in a gallery
KEPT_MODELS = 6
KEPT_BANKS = 3  # of training pictures' features, 25 MB each for lab-net
PORTION = 32  # training pictures a request: nobody waits longer than for these

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


@dataclass(frozen=True)
class Beliefs:
    """What a model makes of n pictures; an index picks some of them, as of an array.

    What a model's card holds nothing for is None: sets, scope and in_scope.
    """

    probabilities: np.ndarray  # float32 (n, 10), calibrated
    raw: np.ndarray  # float32 (n, 10), the network's own softmax
    sets: np.ndarray | None = None  # bool (n, 3, 10): the answer set for each of conformal.LEVELS
    scope: np.ndarray | None = None  # float32 (n,), higher = more like the ten classes
    in_scope: np.ndarray | None = None  # bool (n,)

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, index) -> "Beliefs":
        return Beliefs(*(None if part is None else part[index] for part in self._parts()))

    @classmethod
    def join(cls, several: list["Beliefs"]) -> "Beliefs":
        """Put together what one model was asked in parts."""
        parts = zip(*(beliefs._parts() for beliefs in several), strict=True)
        return cls(*(None if any(one is None for one in part) else np.concatenate(part) for part in parts))

    def _parts(self) -> tuple:
        return self.probabilities, self.raw, self.sets, self.scope, self.in_scope

    def shown(self, raw: bool) -> np.ndarray:
        """The probabilities that a visitor wants to see."""
        return self.raw if raw else self.probabilities

    def members(self, level: int) -> np.ndarray | None:
        """The answer sets at a level of conformal.LEVELS: bool (n, 10)."""
        return None if self.sets is None else self.sets[..., LEVELS.index(level), :]


def answer(model: Path, pixels: np.ndarray) -> Beliefs:
    """Ask a model about uint8 (n, 32, 32, 3). It is loaded again when its file changes."""
    classifier = _classifier(model)
    found = classifier.examine(pixels)
    sets = None
    if found.sets is not None:
        by_level = [answer_sets(found.probabilities, classifier.sets, level) for level in LEVELS]
        sets = np.stack(by_level, axis=1)
    return Beliefs(found.probabilities, found.raw, sets, found.scope, found.in_scope)


def _classifier(model: Path):
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
    return kept[1]


_classifiers: OrderedDict[Path, tuple] = OrderedDict()


def explain(model: Path, pixels: np.ndarray, class_index: int) -> bytes | None:
    """Where in uint8 (32, 32, 3) the evidence for a class lies: a PNG, or None where nothing speaks for the class."""
    from cifar_model.explain import overlay

    heat = _classifier(model).explain(pixels[None], np.array([class_index]))[0]
    return images.encode_png(overlay(pixels, heat)) if heat.any() else None


def neighbours_ready(model: Path) -> bool:
    """Whether the features of all training pictures are at hand."""
    return _neighbours_of(model)[0].is_ready()


def prepare_neighbours(model: Path) -> tuple[int, int]:
    """One portion of the features of all training pictures, of which `nearest` needs all; how many of how many.

    DatasetError where CIFAR-10 is not at hand.
    """
    neighbours, portions = _neighbours_of(model)
    total = len(neighbours.images)
    return next(portions, total), total


def nearest(model: Path, pixels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k training pictures most alike to uint8 (32, 32, 3), nearest first, and how alike, 0 to 1.

    Returns pictures uint8 (k, 32, 32, 3), labels int64 (k,) and cosines float32 (k,).
    """
    neighbours, _ = _neighbours_of(model)
    indices, distances = neighbours.nearest(pixels[None], k)
    return np.asarray(neighbours.images[indices[0]]), np.asarray(neighbours.labels[indices[0]]), 1 - distances[0]


def _neighbours_of(model: Path) -> tuple:
    """The model's `explain.Neighbours`, and its preparation as far as it has come."""
    from cifar_model.explain import Neighbours

    classifier = _classifier(model)
    kept = _neighbours.get(model)
    if kept is None or kept[0] is not classifier:
        made = Neighbours(classifier)
        _neighbours[model] = kept = (classifier, made, made.prepare(batch_size=PORTION))
    _neighbours.move_to_end(model)
    while len(_neighbours) > KEPT_BANKS:
        _neighbours.popitem(last=False)
    return kept[1:]


_neighbours: OrderedDict[Path, tuple] = OrderedDict()


def draw_sweep(suffix: str, probabilities: np.ndarray, names: tuple[str, str], ratio: float, title: str) -> bytes:
    """The chart of a sweep (`figures.sweep_chart`) as the bytes of a .png or .svg file."""
    from cifar_model import figures

    chart = figures.sweep_chart(probabilities, names=names, ratio=ratio, title=title)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"chart{suffix}"
        figures.save_chart(chart, file)
        return file.read_bytes()


def chart(kind: str, *arguments) -> dict:
    """One of CHARTS as a Vega-Lite specification, which a page shows without Altair; it takes the place's width."""
    from cifar_model import figures

    with figures.alt.data_transformers.enable("default", consolidate_datasets=False):
        spec = getattr(figures, CHARTS[kind])(*arguments).to_dict()
    spec.pop("width", None)
    return spec


CHARTS = {"reliability": "reliability_chart", "scope": "scope_chart", "curve": "curve_chart"}


def read_test() -> Path | tuple[np.ndarray, np.ndarray]:
    """Have CIFAR-10 decoded, which may take a minute: the folder with its arrays, or the test split itself.

    Raises DatasetError as `dataset.load_cifar10`.
    """
    from cifar_model import dataset

    _, test = dataset.load_cifar10()
    folder = dataset.cache_entry(dataset.find_source())
    return folder if (folder / "x_test.npy").is_file() else (np.asarray(test[0]), np.asarray(test[1]))


def filters(model: Path) -> tuple[str, np.ndarray]:
    """The first convolution's name, and its filters as pictures uint8 (n, h, w, 3)."""
    from cifar_model import inside

    layer, found = inside.first_filters(_network(model))
    return layer, inside.filter_pictures(found)


def activations(model: Path, pixels: np.ndarray) -> list[tuple]:
    """Of each layer: its name, the shape of its maps, its strongest as pictures uint8 (k, h, w, 3), their numbers."""
    from cifar_model import inside

    maps = inside.feature_maps(_network(model), pixels)
    return [(layer.layer, layer.values.shape, *inside.map_pictures(layer)) for layer in maps]


@functools.lru_cache(maxsize=1)
def _loaded(model: Path, stamp: int | None):
    from cifar_model.backend import import_keras
    from cifar_model.models import load_network

    import_keras()
    return load_network(model)


def _network(model: Path):
    file = model / MODEL_FILE if model.is_dir() else model
    return _loaded(model, file.stat().st_mtime_ns if file.is_file() else None)


JOBS: dict[str, Callable] = {
    "prepare": prepare,
    "mix": mix,
    "mix_pictures": surprise.mix_pictures,
    "answer": answer,
    "explain": explain,
    "neighbours_ready": neighbours_ready,
    "prepare_neighbours": prepare_neighbours,
    "nearest": nearest,
    "draw_sweep": draw_sweep,
    "chart": chart,
    "read_test": read_test,
    "filters": filters,
    "activations": activations,
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
