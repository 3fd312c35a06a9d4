"""What a training does besides learning, while an epoch goes on: its rate, its records, its ear for requests.

Imports Keras: load it only where a network is trained. What happens when an epoch is done is in `epoch_end`.
"""

import time

import keras
import numpy as np

from cifar_model.errors import RunError
from cifar_model.training.control import Control
from cifar_model.training.recipes import schedule_factor
from cifar_model.training.settings import Settings
from cifar_model.training.state import State, Training

PROGRESS_SECONDS = 0.5  # at most one progress line in this time
GUESS_SECONDS = 2.0


class Reseed(keras.callbacks.Callback):
    """Makes dropout, too, follow from seed and epoch alone, so that an epoch can be repeated after a crash."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        layers = [layer for layer in self.model.layers if hasattr(layer, "seed_generator")]
        for number, layer in enumerate(layers):
            layer.seed_generator.state.assign(np.array([self.seed, 1000 * (epoch + 1) + number], "uint32"))


class CurrentWeights(keras.callbacks.Callback):
    """Under JAX, `fit` holds the weights itself within an epoch: this brings them back to the model, first of all."""

    def on_train_batch_end(self, batch, logs=None):
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()


class Divergence(keras.callbacks.Callback):
    """Ends a run whose loss is no number any more: RunError."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise RunError(diverged(f"The loss became {logs['loss']}", self.epoch, batch + 1, self.model))


def diverged(what: str, epoch: int, step: int, network: keras.Model) -> str:
    """The message for a training that diverged."""
    rate = float(keras.ops.convert_to_numpy(network.optimizer.learning_rate))
    return (
        f"{what} in epoch {epoch}, step {step}: training diverged. "
        f"Start again with a learning rate below {rate:.3g}, or continue after the last good epoch with one "
        "(--resume NAME --learning-rate RATE)."
    )


class Schedule(keras.callbacks.Callback):
    """Gives each step its learning rate: the recipe's curve times ``state.rate_factor``.

    A rate set by hand becomes the height of the rest of the curve; in the warm-up, of its top. A rate that another
    callback changed (ReduceLROnPlateau, for example) scales the rest of the curve as it scaled that step.

    `control` may hold a rate set by hand; this callback stands behind those whose changes it is to see at an epoch's
    end. `rate` is what the step under way has got, as a decimal number, not as the optimizer's float32.
    """

    def __init__(self, settings: Settings, steps: int, state: State | None = None, control: Control | None = None):
        super().__init__()
        self.settings, self.recipe, self.steps = settings, settings.details, steps
        self.state = state or State()
        self.control = control

    def on_train_begin(self, logs=None):
        self.given = self._rate()

    def on_epoch_begin(self, epoch, logs=None):
        self.before = epoch * self.steps

    def on_train_batch_begin(self, batch, logs=None):
        self._follow_others()
        progress = (self.before + batch) / (self.settings.epochs * self.steps)
        self._follow_hand(progress)
        planned = self.settings.learning_rate * schedule_factor(self.recipe, progress)
        self.rate = planned * self.state.rate_factor
        self.model.optimizer.learning_rate.assign(self.rate)
        self.given = self._rate()

    def on_epoch_end(self, epoch, logs=None):
        self._follow_others()  # before the checkpoint is written

    def _rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _follow_others(self) -> None:
        rate = self._rate()
        if rate != self.given and self.given > 0:
            self.state.rate_factor *= rate / self.given
            self.given = rate

    def _follow_hand(self, progress: float) -> None:
        if self.control is None or self.control.learning_rate is None:
            return
        top = self.settings.learning_rate * schedule_factor(self.recipe, max(progress, self.recipe.warmup))
        self.state.rate_factor = self.control.learning_rate / max(top, 1e-12)
        self.control.learning_rate = None
        planned = self.settings.learning_rate * schedule_factor(self.recipe, progress)
        self.control.directory.set_status(learning_rate=planned * self.state.rate_factor)


class Progress(keras.callbacks.Callback):
    """Writes progress lines, and knows how fast the epoch goes."""

    def __init__(self, training: Training, schedule: Schedule):
        super().__init__()
        self.training, self.schedule = training, schedule
        self.step = 0  # of the epoch, 1-based; the last one that was done

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.step, self.seen, self.last = epoch + 1, 0, 0, -np.inf
        self.began, self.paused = time.perf_counter(), self.training.control.paused_seconds

    @property
    def seconds(self) -> float:
        """Since the epoch began, pauses not counted."""
        return time.perf_counter() - self.began - (self.training.control.paused_seconds - self.paused)

    @property
    def complete(self) -> bool:
        """Whether the epoch's last step is done."""
        return self.step == self.training.batches.steps

    def on_train_batch_end(self, batch, logs=None):
        steps, epochs = self.training.batches.steps, self.training.settings.epochs
        self.step = batch + 1
        done = (self.epoch - 1) * steps + self.step
        self.seen += self.training.batches.size_at(done - 1)
        if time.perf_counter() - self.last < PROGRESS_SECONDS and not self.complete:
            return
        self.last = time.perf_counter()
        self.speed = self.seen / max(self.seconds, 1e-9)
        record = {
            "time": time.time(),
            "epoch": self.epoch,
            "epochs": epochs,
            "step": self.step,
            "steps": steps,
            "loss": logs["cross_entropy"],
            "accuracy": logs["accuracy"],
            "learning_rate": self.schedule.rate,
            "images_per_second": self.speed,
            "seconds_left": (epochs * steps - done) * self.seconds / self.step,
        }
        self.training.directory.append("progress.jsonl", record)
        self.training.report("progress", record)


class Guesses(keras.callbacks.Callback):
    """Writes down what the network thinks of the images that are shown."""

    def __init__(self, training: Training):
        super().__init__()
        self.training = training

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.last = epoch + 1, -np.inf

    def on_train_batch_end(self, batch, logs=None):
        if time.perf_counter() - self.last < GUESS_SECONDS and batch + 1 < self.training.batches.steps:
            return
        self.last = time.perf_counter()
        answers = np.asarray(self.model.predict_on_batch(self.training.data.shown[0]), np.float64)
        record = {
            "time": time.time(),
            "epoch": self.epoch,
            "step": batch + 1,
            "probabilities": answers.round(4).tolist(),
        }
        self.training.directory.append("guesses.jsonl", record)


class Listen(keras.callbacks.Callback):
    """Takes requests after each step: waits while paused, ends the run within the epoch where it is asked to stop."""

    def __init__(self, control: Control):
        super().__init__()
        self.control = control

    def on_train_batch_end(self, batch, logs=None):
        self.control.poll()
        self._obey()

    def on_epoch_end(self, epoch, logs=None):
        self._obey()  # what was asked while the network was validated

    def _obey(self) -> None:
        if self.control.stopping:
            self.model.stop_training = True


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's own, on the validation accuracy; a resumed run goes on counting where it left off."""

    def __init__(self, patience: int, state: State):
        super().__init__("val_accuracy", mode="max", patience=patience)
        self.state = state

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if self.state.early_stopping:
            self.best, self.wait = self.state.early_stopping

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.state.early_stopping = [self.best, self.wait]
