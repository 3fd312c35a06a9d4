"""Learning, in this process: from settings to a finished run directory. The one writer of that directory."""

import itertools
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.data.cache import load_cifar10
from cifar_model.data.distilled import mini_score, read_mini
from cifar_model.data.find import find_source
from cifar_model.data.outliers import NONE, load_outliers
from cifar_model.data.sources import MINI
from cifar_model.data.split import fingerprints, split_by_content
from cifar_model.errors import LabError, RunError, SettingsError
from cifar_model.models.card import load_card
from cifar_model.models.folder import find_model
from cifar_model.models.history import HISTORY_COLUMNS, read_history
from cifar_model.models.layout import ANSWERS_FILE, CARD_FILE, EPOCHS_FOLDER, MODEL_FILE
from cifar_model.models.network import load_network, save_network
from cifar_model.networks.backend import import_keras
from cifar_model.networks.build import build_network, set_whitening
from cifar_model.networks.views import mirror_average, single_view
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir, replacing, write_json
from cifar_model.training.batches import epoch_batches, shrink
from cifar_model.training.control import POLL_SECONDS, Control
from cifar_model.training.folder import RunDirectory
from cifar_model.training.precision import dtype_policy, faster_precision
from cifar_model.training.recipes import Recipe, resolution_at, schedule_factor
from cifar_model.training.settings import Settings
from cifar_model.trust.assess import assess, outputs
from cifar_model.trust.metrics import accuracy_score, cross_entropy_loss

if TYPE_CHECKING:
    import keras


PROGRESS_SECONDS = 0.5  # at most one progress line in this time
GUESS_SECONDS = 2.0
KEPT_EPOCHS_BYTES = 256_000_000  # beyond this, epochs are kept at even distances

NO_TRUST = (
    "No test score, calibration, answer sets or scope: fitted on synthetic pictures, they say nothing of real ones."
)

Report = Callable[[str, dict], None]


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
        self.control = Control(directory)
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
        with dtype_policy(self.precision):
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

        from cifar_model.networks.optimizers import build_optimizer

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
        with dtype_policy("float32"):
            saved = build_network(settings.network, **shape)
            self.deployed = mirror_average(saved) if settings.network == "lab-net" else saved
        self.generators = [layer.seed_generator for layer in self.network.layers if hasattr(layer, "seed_generator")]

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
            "val_loss": float(cross_entropy_loss(self.held_labels, held)),
            "val_accuracy": float(accuracy_score(self.held_labels, held.argmax(1))),
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
        return outputs(network, images, self.control.poll)[0]

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
            # Of the network before, where a stopped run goes on.
            (path / ANSWERS_FILE).unlink(missing_ok=True)
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
        found = assess(
            network,
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
        return float(accuracy_score(labels, self._predict(network, images).argmax(1)))

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
