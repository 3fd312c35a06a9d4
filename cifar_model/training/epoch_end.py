"""What a training does when an epoch is done: validate, record, keep. Imports Keras.

These callbacks follow each other in an order that a kill at any point allows. The checkpoint decides: what was written
before it, of an epoch that it doesn't know, is dropped when the run is resumed (`RunDirectory.load_checkpoint`); what
comes after it can be made again from it (`KeepBest.mend`).
"""

import keras
import numpy as np

from cifar_model.errors import ModelError, RunError
from cifar_model.models.card import load_card
from cifar_model.models.layout import ANSWERS_FILE, COMPILED_FILE, EPOCHS_FOLDER, MODEL_FILE
from cifar_model.models.network import save_network
from cifar_model.training.callbacks import Progress, diverged
from cifar_model.training.card_of_run import write_card
from cifar_model.training.state import Training
from cifar_model.trust.assess import outputs
from cifar_model.trust.metrics import accuracy_score, cross_entropy_loss

KEPT_EPOCHS_BYTES = 256_000_000  # beyond this, epochs are kept at even distances


class Validation(keras.callbacks.Callback):
    """Scores the network that would be saved on the held-out images that choose the epoch.

    Puts the epoch's numbers into ``logs`` (val_loss and val_accuracy among them) for all callbacks after it, and, where
    the epoch was not stopped before its end, into `training.row`.
    """

    def __init__(self, training: Training, progress: Progress):
        super().__init__()
        self.training, self.progress = training, progress

    def on_epoch_begin(self, epoch, logs=None):
        self.training.row = None

    def on_epoch_end(self, epoch, logs=None):
        training, progress = self.training, self.progress
        training.networks.deploy()
        images, labels = training.data.selection
        answers = outputs(training.networks.deployed, images, training.control.poll)[0]
        if not np.isfinite(answers).all():
            raise RunError(diverged("The network's answers are no numbers", epoch + 1, progress.step, self.model))
        row = {
            "loss": logs["cross_entropy"],
            "accuracy": logs["accuracy"],
            "val_loss": float(cross_entropy_loss(labels, answers)),
            "val_accuracy": float(accuracy_score(labels, answers.argmax(1))),
            "learning_rate": progress.schedule.rate,
            "images_per_second": progress.speed,
            "seconds": progress.seconds,
        }
        logs.update(row)
        if progress.complete:
            training.row = {"epoch": epoch + 1, **row}


class History(keras.callbacks.Callback):
    """Appends the epoch's row to history.csv."""

    def __init__(self, training: Training):
        super().__init__()
        self.training = training

    def on_epoch_end(self, epoch, logs=None):
        if self.training.row:
            self.training.directory.append_history(self.training.row)


class KeepEpochs(keras.callbacks.Callback):
    """Saves the epoch's network, or of a long run one in so many."""

    def __init__(self, training: Training):
        super().__init__()
        self.training = training

    def on_epoch_end(self, epoch, logs=None):
        if not self.training.row:
            return
        epoch, epochs = epoch + 1, self.training.settings.epochs
        stride = -(-epochs * 4 * self.model.count_params() // KEPT_EPOCHS_BYTES)
        if epoch % stride == 0 or epoch == epochs:
            folder = self.training.directory.path / EPOCHS_FOLDER
            folder.mkdir(exist_ok=True)
            save_network(self.training.networks.deployed, folder / f"epoch-{epoch:03d}.keras")


class Checkpoint(keras.callbacks.Callback):
    """Writes what a resumed run goes on from; which epoch is the best is part of that."""

    def __init__(self, training: Training):
        super().__init__()
        self.training = training

    def on_epoch_end(self, epoch, logs=None):
        state, row, settings = self.training.state, self.training.row, self.training.settings
        if not row:
            return
        state.epoch, state.epochs, state.learning_rate = row["epoch"], settings.epochs, settings.learning_rate
        state.seconds += row["seconds"]
        if row["val_accuracy"] >= state.best_accuracy:
            state.best_accuracy, state.best_epoch = row["val_accuracy"], row["epoch"]
        self.training.directory.save_checkpoint(self.model, state.to_dict())


class KeepBest(keras.callbacks.Callback):
    """Saves the best network so far as the run's model; stopped within the first epoch, what it has learned so far."""

    def __init__(self, training: Training):
        super().__init__()
        self.training = training

    def on_epoch_end(self, epoch, logs=None):
        state = self.training.state
        if self.training.row and state.best_epoch == state.epoch:
            self.keep()
        elif state.best_accuracy < 0:
            state.best_accuracy = logs["val_accuracy"]
            self.keep()

    def keep(self) -> None:
        """Save the network that was validated last, and its card."""
        path = self.training.directory.path
        save_network(self.training.networks.deployed, path / MODEL_FILE)
        for file in (ANSWERS_FILE, COMPILED_FILE):  # of the network before
            (path / file).unlink(missing_ok=True)
        write_card(self.training, {"validation_accuracy": self.training.state.best_accuracy})

    def mend(self) -> None:
        """Make up for it where the process was killed between the best epoch's checkpoint and the end of `keep`."""
        state = self.training.state
        try:
            kept = load_card(self.training.directory.path).get("best_epoch")
        except ModelError:
            kept = None
        if state.epoch and state.best_epoch == state.epoch != kept:
            self.training.networks.deploy()
            self.keep()


class Announce(keras.callbacks.Callback):
    """Tells the page and the terminal that the epoch is done, when all of it is on the disk."""

    def __init__(self, training: Training, progress: Progress):
        super().__init__()
        self.training, self.progress = training, progress

    def on_epoch_end(self, epoch, logs=None):
        if not (row := self.training.row):
            return
        self.training.directory.set_status(
            epoch=row["epoch"],
            step=self.progress.step,
            steps=self.training.batches.steps,
            learning_rate=row["learning_rate"],
        )
        self.training.report("epoch", row)
