"""The app's wiring: every resource that sessions share is made here, once, and is replaced here by a test."""

from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cifar_model.answering.answer import Answer
from cifar_model.app.shared.background import Task
from cifar_model.app.shared.sweeping import Looking, Sweep, Sweeps
from cifar_model.app.shared.workshop import Workshop
from cifar_model.app.workers.answering import Answering
from cifar_model.app.workers.prepare import Picture
from cifar_model.app.workers.process import LONG_JOB_SECONDS, Worker
from cifar_model.classes import CLASS_NAMES
from cifar_model.data.find import find_source
from cifar_model.data.sources import THREE_WAYS, Source
from cifar_model.data.split import fingerprints
from cifar_model.errors import DatasetError, LabError
from cifar_model.models.compiled import compiled_file
from cifar_model.models.folder import ModelInfo, epochs_of, list_models, model_version
from cifar_model.models.layout import ANSWERS_FILE, CARD_FILE, EPOCHS_FOLDER, MODEL_FILE
from cifar_model.pictures.ambiguous import Mix, class_pairs, draw_pairs, mid_blends
from cifar_model.runs.curve import Curve
from cifar_model.runs.read import RunInfo, list_runs
from cifar_model.storage import assets_dir, runs_dir
from cifar_model.trust.report import Report, read_report

AT_A_TIME = 16  # pictures a request: another person's single picture waits for no more than these
LOOK_SECONDS = 0.2  # between two looks at all runs, however many visitors ask
IDLE_SECONDS = 600.0  # after which the process with Keras ends: it holds a gigabyte
DECODERS = 2  # processes that decode side by side, the second while there is work for it
PAIRS_EACH = 2  # random pairs of test images for each two classes


@st.cache_resource(show_spinner=False)
def answering() -> Answering:
    """What answers, ready for the first model of the list."""
    known, compiler = list_models(), compiling()
    return Answering(explaining(), lambda model: compiler.submit("compile", model), known[0].path if known else None)


@st.cache_resource(show_spinner=False)
def explaining() -> Worker:
    """The process with TensorFlow, for evidence, activations and what has no compiled form; starts when first asked."""
    return Worker("start_keras", idle_seconds=IDLE_SECONDS, at_once=False, owner=_visitor)


@st.cache_resource(show_spinner=False)
def compiling() -> Workshop:
    """The process that compiles models, while Keras answers for them."""
    return Workshop(Worker)


@st.cache_resource(show_spinner=False)
def drawing() -> Worker:
    """The processes that decode, mix and draw: a hostile picture ends neither the app nor the answers."""
    return Worker(processes=DECODERS, owner=_visitor)


def warm_up() -> None:
    """Start what answers and what decodes with the first page, before either is asked."""
    drawing()
    answering()


def _visitor() -> str | None:
    """Whose page is being drawn: visitors take turns with the workers. None in the background, which is one of them."""
    context = get_script_run_ctx(suppress_warning=True)
    return None if context is None else context.session_id


def models() -> list[ModelInfo]:
    """All models that can be asked, the default one first: one look for all visitors, two seconds old at most."""
    return _models(*_runs_folder())


@st.cache_resource(ttl=2, max_entries=4, show_spinner=False)
def _models(folder: Path, changed: int) -> list[ModelInfo]:
    return list_models()


def epochs(model: ModelInfo) -> list[ModelInfo]:
    """The epochs that a run kept, as models; none of a model of another kind."""
    if model.kind != "run":
        return []
    try:
        return _epochs(model.path, (model.path / EPOCHS_FOLDER).stat().st_mtime_ns, model)
    except OSError:
        return []


@st.cache_resource(max_entries=64, show_spinner=False)
def _epochs(path: Path, changed: int, _model: ModelInfo) -> list[ModelInfo]:
    return epochs_of(_model)


def runs() -> list[RunInfo]:
    """All runs, newest first: one look for all visitors, a moment old at most."""
    return _runs(*_runs_folder())


@st.cache_resource(ttl=LOOK_SECONDS, max_entries=4, show_spinner=False)
def _runs(folder: Path, changed: int) -> list[RunInfo]:
    return list_runs()


def _runs_folder() -> tuple[Path, int]:
    """Where runs lie, and when one was last begun, brought in, renamed or deleted: that is seen at once."""
    folder = runs_dir()
    try:
        return folder, folder.stat().st_mtime_ns
    except OSError:
        return folder, 0


def curve(run: RunInfo) -> Curve:
    """The points of a run's curves, which all visitors share."""
    return _curve(run.path, run.created)


@st.cache_resource(max_entries=32, show_spinner=False)
def _curve(path: Path, created: float) -> Curve:
    return Curve(path)


def look_again() -> None:
    """Forget what `runs` and `models` saw: something was asked of one of them."""
    _runs.clear()
    _models.clear()


def sample_path(name: str) -> Path:
    """The file of a class's sample photograph."""
    return assets_dir() / "samples" / f"{name}.webp"


@st.cache_resource(show_spinner=False)
def samples() -> dict[str, Picture]:
    """The ten sample photographs by class: one job, for which no second process is started."""
    return drawing().call("prepare_all", {name: sample_path(name) for name in CLASS_NAMES})


@st.cache_resource(max_entries=64, show_spinner=False)
def mix(a: np.ndarray, b: np.ndarray, mode: str) -> tuple[np.ndarray, bytes]:
    """The 101 mixes of two pictures, as in `prepare.mix`."""
    return drawing().call("mix", a, b, mode)


def version(model: Path) -> tuple | None:
    """Changes whenever a model's network or its card does, as when the run that makes it ends."""
    return model_version(model)


def ask(model: Path, pixels: np.ndarray) -> Answer:
    """What a model believes about uint8 (n ≥ 1, 32, 32, 3). Answers are kept a while."""
    stamp, parts = version(model), range(0, len(pixels), AT_A_TIME)
    return Answer.join([_ask(model, stamp, pixels[i : i + AT_A_TIME]) for i in parts])


@st.cache_data(max_entries=1024, show_spinner=False)
def _ask(model: Path, stamp: tuple | None, pixels: np.ndarray) -> Answer:
    with sweeps().first():
        return answering().ask(model, pixels)


@st.cache_data(max_entries=256, show_spinner=False)
def chart(kind: str, *arguments) -> dict:
    """A chart by its kind, as in `charts.chart`: a Vega-Lite specification for `st.vega_lite_chart`."""
    return drawing().call("chart", kind, *arguments)


@st.cache_resource(show_spinner=False)
def workshop() -> Workshop:
    """The process for what takes long and happens seldom: models in and out."""
    return Workshop(Worker)


def taken(model: Path, name: str, to: str, calibrated: bool) -> Future:
    """A model in another format as a zip file, and how it was compared, as in `inout.take`."""
    return _taken(model, version(model), name, to, calibrated)


def forget_taken(model: Path, name: str, to: str, calibrated: bool) -> None:
    """Forget one that failed."""
    _taken.clear(model, version(model), name, to, calibrated)


@st.cache_resource(max_entries=6, show_spinner=False)
def _taken(model: Path, stamp: tuple | None, name: str, to: str, calibrated: bool) -> Future:
    return workshop().submit("take", model, name, to, calibrated)


def filters(model: Path) -> tuple[str, np.ndarray]:
    """A network's first filters as pictures, as in `networks.filters`."""
    return _filters(model, version(model))


@st.cache_data(max_entries=32, show_spinner=False)
def _filters(model: Path, stamp: tuple | None) -> tuple[str, np.ndarray]:
    return explaining().call("filters", model)


def activations(model: Path, pixels: np.ndarray) -> list[tuple]:
    """What each layer of a network finds in a picture uint8 (32, 32, 3), as in `networks.activations`."""
    return _activations(model, version(model), pixels)


@st.cache_data(max_entries=32, show_spinner=False)
def _activations(model: Path, stamp: tuple | None, pixels: np.ndarray) -> list[tuple]:
    return explaining().call("activations", model, pixels)


@st.cache_resource(max_entries=16, show_spinner=False)
def _report(path: Path, name: str, stamps: tuple) -> Report:
    return read_report(path, name)


def report(model: ModelInfo) -> Report:
    """A model's card and answers, checked; read again when one of its files changes."""

    def stamp(file: Path) -> int | None:
        return file.stat().st_mtime_ns if file.is_file() else None

    folder = model.path if model.path.is_dir() else model.path.parent.parent
    stamps = tuple(stamp(folder / name) for name in (CARD_FILE, ANSWERS_FILE, MODEL_FILE))
    return _report(model.path, model.name, stamps)


@st.cache_resource(show_spinner=False)
def _reading(source: Source, stamps: tuple) -> Future:
    worker = Worker()  # of its own: decoding CIFAR-10 may take a minute, and others wait for no more than a picture
    job = worker.submit("read_test", seconds=LONG_JOB_SECONDS)
    job.add_done_callback(lambda _: worker.close())
    return job


@st.cache_resource(show_spinner=False)
def _opened(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(folder / "x_test.npy", mmap_mode="r"), np.load(folder / "y_test.npy")


def test_split() -> tuple[np.ndarray, np.ndarray] | None:
    """CIFAR-10's test images uint8 (n, 32, 32, 3) and labels int64 (n,), or None while they are being read.

    Raises DatasetError: there is no data, or it is broken.
    """
    job = _reading(*_test_source())
    if not job.done():
        return None
    if isinstance(error := job.exception(), LabError):
        error.again = _reading.clear
        raise error
    found = job.result()
    return _opened(found) if isinstance(found, Path) else found


def _test_source() -> tuple[Source, tuple]:
    source = find_source()
    if source.kind == "mini":  # what the project ships to train on has no test images
        raise DatasetError(f"CIFAR-10 is not on this machine.\n{THREE_WAYS}")
    return source, tuple(file.stat().st_mtime_ns for file in source.files[:100] if file.is_file())


@st.cache_resource(max_entries=2, show_spinner=False)
def _test_fingerprints(source: Source, stamps: tuple) -> np.ndarray:
    return fingerprints(test_split()[0])  # 30 ms


def test_fingerprints() -> np.ndarray:
    """The names by content of what `test_split` gives, which must have been read: uint64 (n,)."""
    return _test_fingerprints(*_test_source())


def browser_form(model: Path) -> Path | None:
    """A network as browsers take it (`compiled.compiled_file`); None while it is being made, once for each content.

    Raises LabError where it can't be made.
    """
    job = _browser_form(model, version(model))
    if not job.done():
        return None
    file = job.result()
    if file.is_file():
        return file
    try_browser_form_again(model)  # somebody has emptied the cache
    return None


def try_browser_form_again(model: Path) -> None:
    """Forget a `browser_form` that failed."""
    _browser_form.clear(model, version(model))


@st.cache_resource(max_entries=16, show_spinner=False)
def _browser_form(model: Path, stamp: tuple | None) -> Future:
    if file := compiled_file(model):
        job: Future = Future()
        job.set_result(file)
        return job
    return compiling().submit("compile", model)


@st.cache_resource(show_spinner=False)
def sweeps() -> Sweeps:
    """The sweeps of all visitors."""
    return Sweeps(answering().ask)


def look_at_sweeps(models: list[ModelInfo], frames: np.ndarray) -> list[Sweep]:
    """The answers of models to frames uint8 (n, 32, 32, 3), at which this visit looks until it looks at others."""
    looking = st.session_state.setdefault("looking", Looking(sweeps()))
    return looking.at([(model.path, version(model.path)) for model in models], frames)


def explain(model: Path, pixels: np.ndarray, class_index: int) -> bytes | None:
    """Where in a picture the evidence for a class lies, as in `evidence.explain`."""
    return _explain(model, version(model), pixels, class_index)


@st.cache_data(max_entries=256, show_spinner=False)
def _explain(model: Path, stamp: tuple | None, pixels: np.ndarray, class_index: int) -> bytes | None:
    return explaining().call("explain", model, pixels, class_index)


def nearest(model: Path, pixels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The training images most alike to a picture, as in `evidence.nearest`; `neighbours` must be done."""
    return _nearest(model, version(model), pixels, k)


@st.cache_data(max_entries=256, show_spinner=False)
def _nearest(model: Path, stamp: tuple | None, pixels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return explaining().call("nearest", model, pixels, k)


def neighbours_ready(model: Path) -> bool:
    """Whether `nearest` answers at once, because somebody has prepared it before."""
    return explaining().call("neighbours_ready", model)


def neighbours(model: Path) -> Task | None:
    """The preparation of `nearest`; None while the data is being read; DatasetError as `test_split`."""
    return None if test_split() is None else _neighbours(model, version(model))


def try_neighbours_again(model: Path) -> None:
    """Forget a preparation that failed."""
    _neighbours.clear(model, version(model))


@st.cache_resource(max_entries=12, show_spinner=False)
def _neighbours(model: Path, stamp: tuple | None) -> Task:
    worker = explaining()

    def work() -> Generator[tuple[int, int], None, None]:
        done, total = 0, 1
        while done < total:
            done, total = worker.call("prepare_neighbours", model)
            yield done, total

    return Task(work())


@dataclass(frozen=True)
class Mixes:
    """Mid-blends of many pairs of pictures and what a model makes of them."""

    pictures: np.ndarray  # uint8 (n, 32, 32, 3)
    labels: np.ndarray  # int (n,)
    names: list[str]  # of the pictures
    mixes: list[Mix]
    beliefs: Answer  # of the mixes

    @property
    def parents(self) -> np.ndarray:
        """The classes of each mix's two pictures: int (mixes, 2)."""
        return self.labels[[(mix.a, mix.b) for mix in self.mixes]]


def mid_blends_of(model: Path, source: str) -> Task | None:
    """Mid-blends of all pairs of the "samples", or of random "test" pictures: a Task whose result is Mixes.

    None while the test images are being read; DatasetError as `test_split`.
    """
    if source == "test" and test_split() is None:
        return None
    return _mid_blends_of(model, version(model), source)


def try_mid_blends_again(model: Path, source: str) -> None:
    """Forget a Task that failed."""
    _mid_blends_of.clear(model, version(model), source)


@st.cache_resource(max_entries=12, show_spinner=False)
def _mid_blends_of(model: Path, stamp: tuple | None, source: str) -> Task:
    if source == "samples":
        pictures, labels = np.stack([picture.pixels for picture in samples().values()]), np.arange(len(samples()))
        names, pairs = list(samples()), class_pairs()
    else:
        pictures, labels = test_split()
        drawn = np.array(draw_pairs(labels, PAIRS_EACH), np.int64).reshape(-1, 2)
        numbers, renumbered = np.unique(drawn, return_inverse=True)
        pairs = [(int(a), int(b)) for a, b in renumbered.reshape(-1, 2)]
        pictures, labels = np.asarray(pictures[numbers]), np.asarray(labels[numbers])
        names = [f"{CLASS_NAMES[label]}, test {number}" for label, number in zip(labels, numbers, strict=True)]

    answerer, mixer = answering(), drawing()

    def work() -> Generator[tuple[int, int], None, Mixes]:
        mixes, parts = mid_blends(pairs), []
        for start in range(0, len(mixes), AT_A_TIME):
            frames = mixer.call("mix_pictures", pictures, mixes[start : start + AT_A_TIME])
            parts.append(answerer.ask(model, frames))
            yield min(start + AT_A_TIME, len(mixes)), len(mixes)
        return Mixes(pictures, labels, names, mixes, Answer.join(parts))

    return Task(work())
