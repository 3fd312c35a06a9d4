"""Learning, in this process: from settings to a finished run directory. The one writer of that directory."""

import csv
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model import metrics, trust
from cifar_model.architectures import build_network, mirror_average, set_whitening, single_view
from cifar_model.backend import import_keras
from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.dataset import MINI, find_source, load_cifar10, mini_score
from cifar_model.distill import read_mini
from cifar_model.errors import LabError, RunError, SettingsError
from cifar_model.files import replacing
from cifar_model.images import load_image
from cifar_model.models import (
    ANSWERS_FILE,
    CARD_FILE,
    EPOCHS_FOLDER,
    HISTORY_COLUMNS,
    HISTORY_FILE,
    MODEL_FILE,
    SCOPE_FILE,
    assets_dir,
    find_model,
    load_card,
    load_network,
    read_history,
    read_json,
    save_network,
    write_json,
)
from cifar_model.outliers import NONE, load_outliers
from cifar_model.recipes import Recipe, Settings, resolution_at, schedule_factor
from cifar_model.split import fingerprints, split_by_content

if TYPE_CHECKING:
    import keras

PROGRESS_SECONDS = 0.5  # at most one progress line in this time
GUESS_SECONDS = 2.0
POLL_SECONDS = 0.2
KEPT_EPOCHS_BYTES = 256_000_000  # beyond this, epochs are kept at even distances

NO_TRUST = (
    "No test score, calibration, answer sets or scope: fitted on synthetic pictures, they say nothing of real ones."
)

Report = Callable[[str, dict], None]


# Pictures for a step


def augment_batch(
    images: np.ndarray, rng: np.random.Generator, *, mirrored: np.ndarray, shift: int, cutout: int
) -> np.ndarray:
    """Mirror, shift and cut out, each picture by its own draw.

    Parameters
    ----------
    images : uint8 (n, s, s, 3)
    mirrored : bool (n,), which pictures to mirror
    shift : pixels; each picture moves by -shift to +shift along both axes, its border reflected
    cutout : pixels; side of a square, anywhere in the picture, that is painted mid-grey; 0 for none

    Returns
    -------
    uint8 (n, s, s, 3), a new array
    """
    n, size = images.shape[:2]
    side = np.arange(size)
    # Mirroring and shifting are one gather: row and column indices for each picture, reflected at the border.
    rows = side + rng.integers(-shift, shift + 1, (n, 1))
    columns = side + rng.integers(-shift, shift + 1, (n, 1))
    rows, columns = (size - 1 - np.abs(size - 1 - np.abs(index)) for index in (rows, columns))
    columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    result = images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    if cutout:
        top, left = rng.integers(0, size - cutout + 1, (2, n, 1))
        in_rows = (side >= top) & (side < top + cutout)
        in_columns = (side >= left) & (side < left + cutout)
        result[in_rows[:, :, None] & in_columns[:, None, :]] = 128
    return result


def shrink(images: np.ndarray, size: int) -> np.ndarray:
    """Area-average uint8 (n, 32, 32, 3) down to (n, size, size, 3), rounded."""
    full = images.shape[1]
    if size == full:
        return images
    edges = np.arange(size + 1) * full / size
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(full)
    # weights[i, j]: share of output pixel i that input pixel j covers
    weights = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None) * size / full
    weights = weights.astype(np.float32)
    result = np.empty((len(images), size, size, 3), np.uint8)
    for start in range(0, len(images), 1000):
        part = images[start : start + 1000].astype(np.float32)
        part = np.einsum("ih,jw,nhwc->nijc", weights, weights, part, optimize=True)
        result[start : start + 1000] = np.rint(part)
    return result


def blend_batch(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, *, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mixup (Zhang et al. 2018): blend each picture with the one at the other end of the batch.

    Parameters
    ----------
    images : uint8 (n, s, s, 3)
    targets : float32 (n, 10)
    alpha : above 0; each ratio is drawn from Beta(alpha, alpha)

    Returns
    -------
    uint8 (n, s, s, 3), rounded as a mixed picture that a person brings is, and float32 (n, 10)
    """
    share = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    pixels = share[:, None, None, None]
    blended = np.rint(pixels * images + (1 - pixels) * images[::-1]).astype(np.uint8)
    return blended, share[:, None] * targets + (1 - share[:, None]) * targets[::-1]


def epoch_batches(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    settings: Settings,
    epoch: int,
    outliers: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of one epoch: (uint8 (b, s, s, 3), targets float32 (b, 10)); a last short batch is dropped.

    Order and augmentation follow from seed and epoch alone, so an epoch can be repeated after a crash.
    Every other epoch mirrors the other half of the pictures (alternating flip, Jordan 2024, section 3.6).
    With `outliers`, uint8 (m, s, s, 3), pictures of other things follow those of the step; their target is every
    class alike. One mean over both weighs them as Hendrycks et al. 2019 do, by 0.5 at an exposure share of 0.5.
    """
    recipe = settings.details
    n = len(images)
    size = min(settings.batch_size, n)
    rng = np.random.default_rng((settings.seed, epoch))
    order = rng.permutation(n)
    side = np.random.default_rng(settings.seed).random(n) < 0.5
    targets = np.eye(len(CLASS_NAMES), dtype=np.float32)
    apart = np.random.default_rng((settings.seed, epoch, 1))  # the pictures of the step stay the same without them
    strange = max(1, round(size * recipe.exposure_share))

    def augmented(batch, mirrored, rng):
        if not settings.augment:
            return batch
        scale = batch.shape[1] / IMAGE_SIZE
        shift, cutout = max(1, round(recipe.shift * scale)), round(recipe.cutout * scale)
        return augment_batch(batch, rng, mirrored=mirrored, shift=shift, cutout=cutout)

    for start in range(0, n - size + 1, size):
        index = order[start : start + size]
        x = augmented(images[index], side[index] ^ (epoch % 2 == 1), rng)
        y = targets[labels[index]]
        if settings.mixup:
            some = round(size * recipe.mixup_share)
            blends = blend_batch(x[:some], y[:some], rng, alpha=settings.mixup)
            x, y = (np.concatenate([blended, whole[some:]]) for blended, whole in zip(blends, (x, y), strict=True))
        if outliers is not None:
            others = outliers[apart.integers(0, len(outliers), strange)]
            others = augmented(others, apart.random(strange) < 0.5, apart)
            x = np.concatenate([x, others])
            y = np.concatenate([y, np.full((strange, len(CLASS_NAMES)), 1 / len(CLASS_NAMES), np.float32)])
        yield x, y


def normalization_momentum(steps: int) -> float:
    """Momentum of BatchNorm's running means for a training of `steps`: they reach back over a twentieth of it.

    At Keras's 0.99 they lag so far behind in a training of some hundred steps that answers are half as good.
    """
    return float(np.clip(1 - 20 / steps, 0.9, 0.99))


def shown_metrics() -> list:
    """Accuracy and cross-entropy in nats, over the pictures of the ten classes alone.

    A row whose target is every class alike shows something else, see `epoch_batches`.
    """
    import keras
    from keras import ops

    class _OfClasses(keras.metrics.MeanMetricWrapper):
        def update_state(self, y_true, y_pred, sample_weight=None):
            shown = ops.cast(ops.max(y_true, axis=-1) > 1.5 / len(CLASS_NAMES), "float32")
            return super().update_state(y_true, y_pred, shown)

    return [
        _OfClasses(keras.metrics.categorical_accuracy, name="accuracy"),
        _OfClasses(keras.metrics.categorical_crossentropy, name="cross_entropy"),
    ]


def current_commit() -> str:
    """The commit of the code at work; empty outside a checkout, or with changes that no commit has."""
    folder = Path(__file__).resolve().parent

    def git(*arguments):
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return "" if git("status", "--porcelain", "--untracked-files=no") else git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return ""


# Precision


def faster_precision() -> str:
    """``bfloat16`` where this machine convolves in it at least 1.2 times as fast as in float32, else ``float32``.

    Measured, in about a second: no list of processors is complete.
    """
    import keras
    from keras import ops

    if keras.backend.backend() == "numpy":
        return "float32"
    seconds = {}
    for dtype in ("float32", "bfloat16"):
        x = ops.ones((64, 16, 16, 64), dtype)
        kernel = ops.ones((3, 3, 64, 64), dtype)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            float(ops.sum(ops.cast(ops.conv(x, kernel, padding="same"), "float32")))
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return "bfloat16" if seconds["float32"] > 1.2 * seconds["bfloat16"] else "float32"


@contextmanager
def _dtype_policy(precision: str):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


# The run directory


class RunDirectory:
    """Writes every file of one run; at most one process at a time holds it."""

    def __init__(self, path: Path):
        self.path = path
        self.status: dict = {}

    @contextmanager
    def hold(self):
        """Keep other processes off this run; RunError where one is at work on it."""
        import filelock
        import psutil

        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunError(
                f"Another process is at work on the run {self.path.name!r}. Follow it with "
                f"`python -m cifar_model runs follow {self.path.name}`, or choose another name."
            ) from None
        try:
            started = psutil.Process().create_time()
            self.status = {"pid": os.getpid(), "pid_started": started}
            yield
        finally:
            lock.release()

    def set_status(self, state: str | None = None, message: str = "", **values) -> None:
        if state:
            self.status.update(state=state, message=message)
        self.status.update(values, updated=time.time())
        write_json(self.path / "status.json", self.status)

    def append(self, name: str, record: dict) -> None:
        """Add one whole line of JSON to a .jsonl file, at once."""
        self._append_bytes(self.path / name, json.dumps(record).encode() + b"\n")

    @staticmethod
    def _append_bytes(path: Path, line: bytes) -> None:
        # One write call a line: a reader, or a crash, never sees half of one.
        with open(path, "ab", buffering=0) as file:
            file.write(line)

    def write_history(self, rows: list[dict]) -> None:
        """Replace history.csv; used to begin and to drop epochs that a resumed run repeats."""
        with replacing(self.path / HISTORY_FILE) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def append_history(self, row: dict) -> None:
        line = ",".join(_digits(row[column]) for column in HISTORY_COLUMNS) + "\n"
        self._append_bytes(self.path / HISTORY_FILE, line.encode())

    def requests(self) -> Iterator[dict]:
        """Take the requests out of the inbox, oldest first; what can't be read is dropped."""
        for file in sorted((self.path / "requests").glob("[0-9]*.json")):  # not the hidden, unfinished ones
            try:
                request = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                request = None
            with suppress(OSError):
                file.unlink()
            if isinstance(request, dict):
                yield request

    def save_checkpoint(self, network: "keras.Model", state: dict) -> None:
        """Keep what `load_checkpoint` needs: weights, optimizer state and `state`; the older one goes last."""
        folder = self.path / "checkpoint"
        folder.mkdir(exist_ok=True)
        name = f"epoch-{state['epoch']:03d}.weights.h5"
        temporary = folder / f"new-{name}"
        network.save_weights(temporary)
        os.replace(temporary, folder / name)
        write_json(folder / "state.json", state | {"weights": name})
        for old in folder.glob("*.weights.h5"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def load_checkpoint(self, network: "keras.Model") -> dict:
        """Restore the newest checkpoint into `network` and return its state; {} where there is none."""
        folder = self.path / "checkpoint"
        if not (folder / "state.json").is_file():
            return {}
        state = read_json(folder / "state.json")
        network.load_weights(folder / state["weights"])
        return state


def _digits(value) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


# Learning


class _Control:
    """What the world asks of a run: signals and the inbox."""

    def __init__(self, directory: RunDirectory):
        self.directory = directory
        self.stopping = False
        self.paused = False
        self.learning_rate: float | None = None

    def poll(self) -> None:
        """Take requests, and wait while paused."""
        self._take()
        while self.paused and not self.stopping:
            time.sleep(POLL_SECONDS)
            self._take()

    def _take(self) -> None:
        for request in self.directory.requests():
            action = request.get("action")
            if action == "stop":
                self.stopping = True
            elif action == "set-lr" and isinstance(request.get("value"), int | float):
                self.learning_rate = float(request["value"])
            elif action in ("pause", "resume") and self.paused != (action == "pause"):
                self.paused = action == "pause"
                self.directory.set_status("paused" if self.paused else "running")

    @contextmanager
    def signals(self):
        """Ctrl-C and SIGTERM ask to stop; a second Ctrl-C interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number, frame):
            if self.stopping and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.stopping = True

        kinds = [signal.SIGINT, signal.SIGTERM]
        before = {kind: signal.signal(kind, stop) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)


def train(
    settings: Settings,
    run_path: Path,
    *,
    resume: bool = False,
    command: str = "",
    report: Report = lambda kind, record: None,
    callbacks: list | None = None,
    ahead: Callable[[], list[str]] = list,
) -> dict:
    """Train a network and write its run directory.

    Parameters
    ----------
    settings : Settings
    run_path : directory of the run; made where it is missing
    resume : go on from its last finished epoch
    command : what a person types to repeat this run, for the card
    report : called with ("progress" | "epoch" | "note", record) as things become known
    callbacks : further Keras callbacks; they see epochs and batches as in ``fit``
    ahead : names the runs to wait for; asked until it answers none (state ``queued`` meanwhile)

    Returns
    -------
    dict
        The card of the finished or stopped run; empty where it was stopped before its turn came.

    Raises
    ------
    LabError
        With its message also in ``status.json`` (state ``failed``): no data, another process on the run, disk
        full, a loss that is not a number.
    """
    directory = RunDirectory(run_path)
    with directory.hold():
        try:
            return _Run(settings, directory, command, report, callbacks or []).go(resume, ahead)
        except KeyboardInterrupt:
            directory.set_status("stopped", "Interrupted before the epoch's end.")
            raise
        except LabError as error:
            with suppress(LabError, OSError):
                directory.set_status("failed", str(error))
            raise
        except OSError as error:
            problem = RunError(f"Writing the run failed: {error}. Free some space, then resume it.")
            with suppress(LabError, OSError):
                directory.set_status("failed", str(problem))
            raise problem from error
        except Exception as error:
            with suppress(LabError, OSError):
                directory.set_status("failed", f"Unexpected {type(error).__name__}: {error}")
            raise


class _Run:
    """One call of `train`."""

    def __init__(self, settings, directory, command, report, callbacks):
        self.settings: Settings = settings
        self.recipe: Recipe = settings.details
        self.directory: RunDirectory = directory
        self.command: str = command
        self.report: Report = report
        self.callbacks: list = callbacks
        self.control = _Control(directory)
        self.best_accuracy, self.best_epoch = -1.0, 0
        self.rate_factor = 1.0
        self.seconds = 0.0
        self.shrunk: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
        self.outliers = None  # Outliers, where the settings name some
        self.origin: dict = {}  # what the card says of the model that this one started from

    def go(self, resume: bool, ahead: Callable[[], list[str]]) -> dict:
        settings, directory = self.settings, self.directory
        if not resume:
            self._begin_anew()
        with self.control.signals():
            if not self._wait(ahead):
                return {}
        directory.set_status(
            "starting", epoch=0, epochs=settings.epochs, step=0, steps=0, learning_rate=settings.learning_rate
        )
        self._load_data()
        keras = import_keras()
        keras.utils.set_random_seed(settings.seed)
        if settings.deterministic and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()
        self.precision = faster_precision() if settings.precision == "auto" else settings.precision
        with _dtype_policy(self.precision):
            self._build()
        epoch = self._restore() if resume else 0
        self._start_callbacks()
        with self.control.signals():
            directory.set_status("running")
            while epoch < settings.epochs and not self.control.stopping:
                if self._epoch(epoch + 1):
                    epoch += 1
        self.callback_list.on_train_end()
        return self._finish(epoch)

    def _wait(self, ahead: Callable[[], list[str]]) -> bool:
        """Wait until nobody is ahead; False where the run was stopped meanwhile."""
        shown = None
        while (names := ahead()) and not self.control.stopping:
            if names != shown:
                shown = names
                message = f"Waiting for {', '.join(names)}."
                self.directory.set_status("queued", message)
                self.report("note", {"message": message})
            time.sleep(POLL_SECONDS)
            self.control.poll()
        if self.control.stopping:
            self.directory.set_status("stopped", "Stopped before its turn came.")
        return not self.control.stopping

    def _begin_anew(self) -> None:
        path = self.directory.path
        for name in ("progress.jsonl", "guesses.jsonl"):
            (path / name).unlink(missing_ok=True)
        write_json(
            path / "settings.json",
            {
                "name": path.name,
                "created": time.time(),
                "command": self.command,
                "argv": sys.argv,
                "settings": self.settings.to_dict(),
            },
        )
        self.directory.write_history([])

    def _load_data(self) -> None:
        settings = self.settings
        # The distilled pictures only where the settings say so: a resumed run never changes its data unseen.
        self.source = find_source(settings.data, mini=settings.data == MINI)
        if self.source.kind == MINI:
            labels = self._load_mini()
        else:
            labels = self._load_cifar10()
        with replacing(self.directory.path / "guesses.npz") as temporary:
            np.savez(temporary, images=self.shown, labels=labels)
        self._load_outliers()
        self.train_count = len(self.images)
        passes = self.recipe.passes
        self.images, self.labels = np.tile(self.images, (passes, 1, 1, 1)), np.tile(self.labels, passes)
        self.steps = len(self.images) // min(settings.batch_size, len(self.images))
        self.total_steps = self.steps * settings.epochs

    def _load_cifar10(self) -> np.ndarray:
        """Training, held-out and test pictures; returns the labels of the eight that are shown."""
        (images, labels), self.test = load_cifar10(self.settings.data)
        self.split = split_by_content(images, self.settings.validation, self.settings.fraction)
        self.images, self.labels = images[self.split.train], labels[self.split.train]
        self.held_images, self.held_labels = images[self.split.selection], labels[self.split.selection]
        self.untouched = images[self.split.untouched], labels[self.split.untouched]
        # The first test picture of each of the first eight classes: fixed, so that runs compare.
        shown = [int(np.flatnonzero(self.test[1] == label)[0]) for label in np.unique(self.test[1])[:8]]
        self.shown = np.asarray(self.test[0][shown])
        return self.test[1][shown]

    def _load_mini(self) -> np.ndarray:
        """The distilled pictures, which have no test part; shown are sample photographs, for those are real."""
        (images, labels), (self.held_images, self.held_labels) = read_mini()
        order = np.argsort(fingerprints(images), kind="stable")
        kept = order[: max(1, round(len(images) * self.settings.fraction))]
        self.images, self.labels = images[kept], labels[kept]
        self.test = None
        self.shown = np.stack([load_image(assets_dir() / "samples" / f"{name}.webp") for name in CLASS_NAMES[:8]])
        return np.arange(8)

    def _load_outliers(self) -> None:
        if self.settings.outliers == NONE:
            return
        known = self.images if self.test is None else np.concatenate([self.images, self.held_images, self.test[0]])
        self.outliers = load_outliers(self.settings.outliers, known)
        self.report("note", {"message": self.outliers.describe()})

    def _build(self) -> None:
        import keras

        from cifar_model.optimizers import build_optimizer

        settings = self.settings
        shape = {"filters": settings.filters, "dropout": settings.dropout, "dense": settings.dense}
        self.network = build_network(settings.network, any_size=settings.network == "lab-net", fast=True, **shape)
        set_whitening(self.network, self.images[:5000])
        momentum = normalization_momentum(self.total_steps)
        for layer in self.network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = min(layer.momentum, momentum)
        if settings.start_from:
            self._start_from(settings.start_from)
        self.network.compile(
            build_optimizer(settings.optimizer, settings.learning_rate),
            # Blended targets are soft already.
            keras.losses.CategoricalCrossentropy(label_smoothing=0 if settings.mixup else self.recipe.label_smoothing),
            metrics=shown_metrics(),
            # On CPUs XLA runs convolutions 2 to 5 times slower; on a GPU JAX compiles anyway.
            jit_compile=keras.backend.backend() == "jax",
        )
        self.network.optimizer.build(self.network.trainable_variables)
        # What is saved: always float32 and 32×32, so that an answer doesn't depend on how it was trained.
        with _dtype_policy("float32"):
            saved = build_network(settings.network, **shape)
            self.deployed = mirror_average(saved) if settings.network == "lab-net" else saved
        self.generators = [
            layer.seed_generator for layer in self.network.layers if hasattr(layer, "seed_generator")
        ]

    def _start_from(self, name: str) -> None:
        source = single_view(load_network(find_model(name)))
        shapes = [weight.shape for weight in source.weights]
        if shapes != [weight.shape for weight in self.network.weights]:
            raise SettingsError(
                f"The model {name!r} is of another shape than the network {self.settings.network!r}: "
                f"{source.count_params():,} weights, not {self.network.count_params():,}. Start from one of its kind."
            )
        card = load_card(find_model(name))
        self._check_origin(name, card)
        self.network.set_weights(source.get_weights())
        self.origin = {key: card[key] for key in ("name", "command", "epochs", "seconds", "details") if key in card}

    def _check_origin(self, name: str, card: dict) -> None:
        """Refuse a network that has seen pictures which this run would hold out: its scores would flatter."""
        data = card.get("data", {})
        if self.test is None or card.get("settings", {}).get("data") == MINI:
            return
        try:
            boundary = int(data["held_out_up_to"], 16)
        except (KeyError, TypeError, ValueError):
            raise SettingsError(
                f"The card of {name!r} doesn't tell which images were held out from its training, so it may have seen "
                "those that this run would hold out. Start from a model whose card tells, or from none."
            ) from None
        if self.split.boundary > boundary:
            share = card.get("settings", {}).get("validation", "a smaller share")
            raise SettingsError(
                f"{name!r} was trained on images that this run would hold out: it held out {share}, this run "
                f"{self.settings.validation:g}. Use --validation {share} or less."
            )

    def _restore(self) -> int:
        state = self.directory.load_checkpoint(self.network)
        epoch = state.get("epoch", 0)
        self.best_accuracy = state.get("best_accuracy", -1.0)
        self.best_epoch = state.get("best_epoch", 0)
        self.rate_factor = state.get("rate_factor", 1.0)
        self.seconds = state.get("seconds", 0.0)
        history = read_history(self.directory.path)
        self.directory.write_history(history[history["epoch"] <= epoch].to_dict("records"))
        self.report("note", {"message": f"Going on after epoch {epoch}."})
        return epoch

    def _start_callbacks(self) -> None:
        import keras

        callbacks = list(self.callbacks)
        if keras.backend.backend() == "tensorflow":
            folder = self.directory.path / "tensorboard"
            callbacks.append(keras.callbacks.TensorBoard(folder, write_graph=False))
        self.callback_list = keras.callbacks.CallbackList(
            callbacks, model=self.network, epochs=self.settings.epochs, steps=self.steps, verbose=0
        )
        self.callback_list.on_train_begin()

    def _rate(self, step: int) -> float:
        """Learning rate of the step `step` (0-based, over the whole run)."""
        progress = step / self.total_steps
        planned = self.settings.learning_rate * schedule_factor(self.recipe, progress)
        if self.control.learning_rate is not None:
            # A rate set by hand becomes the height of the rest of the curve; in the warm-up, of its top.
            height = schedule_factor(self.recipe, max(progress, self.recipe.warmup))
            self.rate_factor = self.control.learning_rate / max(self.settings.learning_rate * height, 1e-12)
            self.control.learning_rate = None
            self.directory.set_status(learning_rate=planned * self.rate_factor)
        return planned * self.rate_factor

    def _epoch(self, epoch: int) -> bool:
        """One epoch (1-based); False where it was stopped halfway."""
        network, settings = self.network, self.settings
        before = (epoch - 1) * self.steps
        for number, generator in enumerate(self.generators):
            # Dropout too follows from seed and epoch alone.
            generator.state.assign(np.array([settings.seed, 1000 * epoch + number], "uint32"))
        self.callback_list.on_epoch_begin(epoch - 1)
        start, last_line, last_guess, seen, paused = time.perf_counter(), 0.0, 0.0, 0, 0.0
        loss = accuracy = 0.0
        size, exposed, batches = None, None, iter(())
        for step in range(1, self.steps + 1):
            wanted = resolution_at(self.recipe, (before + step - 1) / self.total_steps)
            if wanted != size:
                size = wanted
                exposed = None
            if exposed is not (before + step - 1 >= self.recipe.exposure_from * self.total_steps):
                exposed = before + step - 1 >= self.recipe.exposure_from * self.total_steps
                images, outliers = self._pictures(size)
                batches = epoch_batches(
                    images,
                    self.labels,
                    settings=settings,
                    epoch=epoch,
                    outliers=outliers if exposed else None,
                )
                batches = itertools.islice(batches, step - 1, None)
            x, y = next(batches)
            rate = self._rate(before + step - 1)
            network.optimizer.learning_rate.assign(rate)
            self.callback_list.on_train_batch_begin(step - 1)
            logs = network.train_on_batch(x, y, return_dict=True)
            self.callback_list.on_train_batch_end(step - 1, logs)
            seen += len(x)
            # Means over the epoch so far; what train_on_batch answers is of this batch alone.
            loss += (float(logs["cross_entropy"]) - loss) / step
            accuracy += (float(logs["accuracy"]) - accuracy) / step
            now = time.perf_counter()
            if not np.isfinite(logs["loss"]):
                raise RunError(
                    f"The loss became {logs['loss']} in epoch {epoch}, step {step}: the network has lost its way. "
                    f"Start again with a learning rate below {rate:.3g}."
                )
            speed = seen / max(now - start - paused, 1e-9)
            if now - last_line >= PROGRESS_SECONDS or step == self.steps:
                last_line = now
                record = {
                    "time": time.time(),
                    "epoch": epoch,
                    "epochs": settings.epochs,
                    "step": step,
                    "steps": self.steps,
                    "loss": loss,
                    "accuracy": accuracy,
                    "learning_rate": rate,
                    "images_per_second": speed,
                    "seconds_left": (self.total_steps - before - step) * len(x) / speed,
                }
                self.directory.append("progress.jsonl", record)
                self.report("progress", record)
            if now - last_guess >= GUESS_SECONDS or step == self.steps:
                last_guess = now
                self._guess(epoch, step)
            polled = time.perf_counter()
            self.control.poll()
            paused += time.perf_counter() - polled
            if self.control.stopping and step < self.steps:
                return False
        # Of the network that is saved, not of the one in training: that one may see one view, in bfloat16.
        single_view(self.deployed).set_weights(network.get_weights())
        held = self._predict(self.deployed, self.held_images)
        row = {
            "epoch": epoch,
            "loss": loss,
            "accuracy": accuracy,
            "val_loss": float(metrics.cross_entropy_loss(self.held_labels, held)),
            "val_accuracy": float(metrics.accuracy_score(self.held_labels, held.argmax(1))),
            "learning_rate": rate,
            "images_per_second": speed,
            "seconds": time.perf_counter() - start - paused,
        }
        self.seconds += row["seconds"]
        self._keep(epoch, row["val_accuracy"])
        self.directory.append_history(row)
        self.directory.set_status(epoch=epoch, step=step, steps=self.steps, learning_rate=rate)
        self.callback_list.on_epoch_end(epoch - 1, {key: row[key] for key in HISTORY_COLUMNS[1:]})
        self.report("epoch", row)
        return True

    def _pictures(self, size: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The training pictures, and those of other things, at that side; the last size asked for is kept."""
        if size not in self.shrunk:
            others = shrink(self.outliers.images, size) if self.outliers else None
            self.shrunk = {size: (shrink(self.images, size), others)}
        return self.shrunk[size]

    def _guess(self, epoch: int, step: int) -> None:
        probabilities = np.asarray(self.network.predict_on_batch(self.shown), np.float64).round(4).tolist()
        record = {"time": time.time(), "epoch": epoch, "step": step, "probabilities": probabilities}
        self.directory.append("guesses.jsonl", record)

    def _predict(self, network: "keras.Model", images: np.ndarray) -> np.ndarray:
        """float32 (n, 10) in batches, with an ear for requests between them."""
        return trust.outputs(network, images, self.control.poll)[0]

    def _keep(self, epoch: int, accuracy: float) -> None:
        """Save the epoch's network where it is wanted, the best one as model.keras, and the checkpoint."""
        path = self.directory.path
        size = 4 * self.network.count_params()
        stride = -(-self.settings.epochs * size // KEPT_EPOCHS_BYTES)
        if epoch % stride == 0 or epoch == self.settings.epochs:
            (path / EPOCHS_FOLDER).mkdir(exist_ok=True)
            save_network(self.deployed, path / EPOCHS_FOLDER / f"epoch-{epoch:03d}.keras")
        if accuracy >= self.best_accuracy:
            self.best_accuracy, self.best_epoch = accuracy, epoch
            save_network(self.deployed, path / MODEL_FILE)
            for name in (ANSWERS_FILE, SCOPE_FILE):  # of the network before, where a stopped run goes on
                (path / name).unlink(missing_ok=True)
            self._write_card({"validation_accuracy": accuracy})
        self.directory.save_checkpoint(
            self.network,
            {
                "epoch": epoch,
                "best_accuracy": self.best_accuracy,
                "best_epoch": self.best_epoch,
                "rate_factor": self.rate_factor,
                "seconds": self.seconds,
            },
        )

    def _finish(self, epoch: int) -> dict:
        if not self.best_epoch:
            # Stopped within the first epoch: what it has learned so far is its best.
            single_view(self.deployed).set_weights(self.network.get_weights())
            self._keep(0, self._accuracy(self.deployed, self.held_images, self.held_labels))
        if self.test is None:
            return self._finish_without_test(epoch)
        self.report("note", {"message": "Scoring the best network on the test set."})
        network = load_network(self.directory.path / MODEL_FILE)
        stopped = self.control.stopping and epoch < self.settings.epochs
        self.control.paused, self.control.stopping = False, False
        found = trust.assess(
            network,
            train=(self.images[: self.train_count], self.labels[: self.train_count]),
            selection=(self.held_images, self.held_labels),
            untouched=self.untouched,
            test=self.test,
            between=self.control.poll,
        )
        found.save(self.directory.path)
        scores = {"validation_accuracy": self.best_accuracy} | found.card["scores"]
        card = self._write_card(scores, found.card)
        message = f"Test accuracy {100 * scores['test_accuracy']:.2f} % (epoch {self.best_epoch})."
        self.directory.set_status("stopped" if stopped else "finished", message)
        return card

    def _finish_without_test(self, epoch: int) -> dict:
        """After the distilled pictures: synthetic ones say nothing of how sure a network may be of real ones."""
        card = self._write_card({"validation_accuracy": self.best_accuracy})
        message = f"{100 * self.best_accuracy:.1f} % of the synthetic validation pictures, epoch {self.best_epoch}."
        if score := mini_score(self.settings.network):
            message += f" Of real photographs such a network gets about {100 * score[0]:.0f} % right."
        stopped = self.control.stopping and epoch < self.settings.epochs
        self.directory.set_status("stopped" if stopped else "finished", message)
        return card

    def _accuracy(self, network, images, labels) -> float:
        return float(metrics.accuracy_score(labels, self._predict(network, images).argmax(1)))

    def _write_card(self, scores: dict, assessed: dict | None = None) -> dict:
        import keras

        settings = self.settings
        recipe = vars(self.recipe) | {"resolutions": [list(pair) for pair in self.recipe.resolutions]}
        card = {
            "name": self.directory.path.name,
            "network": settings.network,
            "recipe": settings.recipe,
            "settings": settings.to_dict(),
            "details": {key: value for key, value in recipe.items() if key not in settings.to_dict()},
            "averaging": "mirror" if single_view(self.deployed) is not self.deployed else "none",
            "parameters": self.network.count_params(),
            "data": {
                "source": self.source.title,
                "train": self.train_count,
                "validation": len(self.held_images) + (len(self.untouched[0]) if self.test else 0),
                "test": len(self.test[0]) if self.test else 0,
                **({"held_out_up_to": f"{self.split.boundary:016x}"} if self.test else {}),
                **({} if self.test else {"note": NO_TRUST}),
                **({"outliers": self.outliers.describe()} if self.outliers else {}),
            },
            **(assessed or {"calibration": {}}),
            "scores": scores,
            "best_epoch": self.best_epoch,
            "epochs": settings.epochs,
            "seconds": round(self.seconds, 1),
            "seed": settings.seed,
            "precision": self.precision,
            "versions": {
                "python": platform.python_version(),
                "keras": keras.version(),
                "backend": keras.backend.backend(),
                "numpy": np.__version__,
            },
            "command": self.command,
            **({"commit": commit} if (commit := current_commit()) else {}),
            **({"start_from": self.origin} if self.origin else {}),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        write_json(self.directory.path / CARD_FILE, card)
        return card
