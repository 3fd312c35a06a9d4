"""Learning, in this process: from settings to a finished run directory. The one writer of that directory."""

import errno
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cifar_model.answering.check_data import check_data
from cifar_model.errors import LabError, RunError
from cifar_model.models.card import Card
from cifar_model.networks.backend import import_keras
from cifar_model.storage import read_json, replacing, write_json
from cifar_model.training.control import POLL_SECONDS, Control
from cifar_model.training.data import load_data
from cifar_model.training.finish import finish
from cifar_model.training.folder import RunDirectory, write_settings
from cifar_model.training.network import build_networks, origin_of
from cifar_model.training.precision import faster_precision
from cifar_model.training.settings import Settings
from cifar_model.training.state import Report, State, Training

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def train(
    settings: Settings,
    run_path: Path,
    *,
    resume: bool = False,
    command: str = "",
    report: Report = lambda kind, record: None,
    callbacks: list | None = None,
    ahead: Callable[[], list[str]] = list,
    begun: float | None = None,
) -> Card:
    """Train a network and write its run directory.

    Parameters
    ----------
    settings : Settings
    run_path : directory of the run; made where it is missing
    resume : go on from its last finished epoch; `settings` may name more epochs than before, or another learning rate
    command : what a person types to repeat this run, for the card
    report : called with ("progress" | "epoch" | "note", record) as things become known
    callbacks : further Keras callbacks for `fit`; at an epoch's end they find loss, accuracy, val_loss, val_accuracy,
        learning_rate, images_per_second and seconds in its logs
    ahead : names the runs to wait for; asked until it answers none (state ``queued`` meanwhile)
    begun : when this process was started, by default now (Unix time): a request from before was meant for another

    Returns
    -------
    Card
        Of the finished or stopped run; an empty one where it was stopped before its turn came.

    Raises
    ------
    LabError
        With its message also in ``status.json`` (state ``failed``): no data, another process on the run, disk
        full, a loss that is not a number.
    """
    directory = RunDirectory(run_path)
    with directory.hold():
        try:
            control = Control(directory)
            if resume:
                directory.forget_requests(time.time() if begun is None else begun)
            command = _write_settings(directory, settings, command, resume)
            with control.signals():
                if not _wait(directory, control, report, ahead):
                    return Card()
            training = _prepare(settings, directory, command, report, control, resume)
            with control.signals():
                directory.set_status("running", epoch=training.state.epoch)
                _learn(training, callbacks or [])
            return finish(training)
        except KeyboardInterrupt:
            directory.set_status("stopped", "Interrupted before the epoch's end.")
            raise
        except Exception as error:
            problem = _in_words(error, directory.path.name)
            directory.fail(str(problem))
            if isinstance(problem, LabError) and problem is not error:
                raise problem from error
            raise


def _in_words(error: Exception, name: str) -> Exception:
    """What went wrong, for a person: a disk that is full, or else the error itself."""
    causes, cause = [], error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    # TensorFlow's own writers, of its logs, tell it in words alone.
    if any((isinstance(c, OSError) and c.errno in NO_ROOM) or "No space left" in str(c) for c in causes):
        return RunError(
            f"The disk is full, or this user may write no more. Free some space, then go on with --resume {name}: "
            "nothing is lost but the epoch under way."
        )
    if isinstance(error, OSError):
        return RunError(f"Writing the run failed: {error}. When that is mended, go on with --resume {name}.")
    return error if isinstance(error, LabError) else RuntimeError(f"Unexpected {type(error).__name__}: {error}")


def _write_settings(directory: RunDirectory, settings: Settings, command: str, resume: bool) -> str:
    """Begin a run's records anew, or note that a resumed one gets more epochs; returns the command for the card."""
    if resume:
        path = directory.path / "settings.json"
        before = read_json(path)
        command = command or before.get("command", "")
        if before.get("settings") != settings.to_dict():
            write_json(path, before | {"command": command, "settings": settings.to_dict()})
        return command
    for name in ("progress.jsonl", "guesses.jsonl"):
        (directory.path / name).unlink(missing_ok=True)
    write_settings(directory.path, settings, command)
    directory.write_history([])
    return command


def _wait(directory: RunDirectory, control: Control, report: Report, ahead: Callable[[], list[str]]) -> bool:
    """Wait until nobody is ahead; False where the run was stopped meanwhile."""
    shown, control.queued = None, True
    while (names := ahead()) and not control.stopping:
        if names != shown:
            shown = names
            message = f"Waiting for {', '.join(names)}."
            directory.set_status("queued", message)
            report("note", {"message": message})
        time.sleep(POLL_SECONDS)
        control.poll()
    control.queued = False
    if control.stopping:
        directory.set_status("stopped", "Stopped before its turn came.")
    return not control.stopping


def _prepare(
    settings: Settings, directory: RunDirectory, command: str, report: Report, control: Control, resume: bool
) -> Training:
    """Load the data, build the networks, restore the checkpoint."""
    directory.set_status("starting", epochs=settings.epochs, step=0, steps=0, learning_rate=settings.learning_rate)
    data = load_data(settings)
    if data.test and (doubts := check_data(data.source, data.train, data.test)):
        doubts = f"This may not be CIFAR-10. {doubts}"
        directory.set_status(doubts=doubts)
        report("note", {"message": f"Warning: {doubts}"})
    with replacing(directory.path / "guesses.npz") as temporary:
        np.savez(temporary, images=data.shown[0], labels=data.shown[1])
    if data.outliers:
        report("note", {"message": data.outliers.describe()})
    keras = import_keras()
    from cifar_model.training.batches import Batches

    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    precision = _precision(settings, directory, resume)
    batches = Batches(*data.train, settings=settings, outliers=data.outliers and data.outliers.images)
    networks = build_networks(settings, data, precision=precision, total_steps=len(batches))
    training = Training(
        settings, directory, command, report, control, data, networks, batches, precision, origin_of(settings)
    )
    if resume:
        _restore(training)
    return training


def _precision(settings: Settings, directory: RunDirectory, resume: bool) -> str:
    """The number format to learn in; what was measured once for a run stays, wherever it is resumed."""
    if settings.precision != "auto":
        return settings.precision
    path = directory.path / "settings.json"
    record = read_json(path)
    if "precision" not in record:
        kept = directory.path / "card.json"
        card = read_json(kept) if resume and kept.is_file() else {}  # of a run that an older version began
        record["precision"] = card.get("precision") or faster_precision()
        write_json(path, record)
    return record["precision"]


def _restore(training: Training) -> None:
    from cifar_model.training.epoch_end import KeepBest

    before = training.directory.load_checkpoint(training.networks.learner)
    training.state = state = State.from_dict(before)
    if state.epochs < training.settings.epochs:
        state.early_stopping = None  # it got more epochs, so it may wait again
    if state.learning_rate not in (0, training.settings.learning_rate):
        state.rate_factor = 1.0  # a rate set for the rest of the run replaces one that was set by hand before
    training.batches.pass_over(state.epoch)
    KeepBest(training).mend()
    message = f"Continuing after epoch {state.epoch}." if state.epoch else "No epoch was finished: starting again."
    training.report("note", {"message": message})


def _learn(training: Training, others: list) -> None:
    """Keras's `fit`, with what the run does besides as callbacks; `others` come from whoever called `train`."""
    import keras

    from cifar_model.training import callbacks, epoch_end

    settings, state, control, batches = training.settings, training.state, training.control, training.batches
    if keras.backend.backend() == "tensorflow":
        others = [*others, keras.callbacks.TensorBoard(training.directory.path / "tensorboard", write_graph=False)]
    if settings.early_stopping:
        others = [*others, callbacks.EarlyStopping(settings.early_stopping, state)]
        if state.early_stopping and state.early_stopping[1] >= settings.early_stopping:
            return  # it had ended, and was killed before all was written
    if state.epoch >= settings.epochs or control.stopping:
        return
    schedule = callbacks.Schedule(settings, batches.steps, state, control)
    progress = callbacks.Progress(training, schedule)
    training.networks.learner.fit(
        batches.show_shapes(),
        initial_epoch=state.epoch,
        epochs=settings.epochs,
        steps_per_epoch=batches.steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            callbacks.Reseed(settings.seed),
            callbacks.CurrentWeights(),
            callbacks.Divergence(),
            progress,
            epoch_end.Validation(training, progress),
            *others,
            schedule,
            epoch_end.History(training),
            epoch_end.KeepEpochs(training),
            epoch_end.Checkpoint(training),
            epoch_end.KeepBest(training),
            epoch_end.Announce(training, progress),
            callbacks.Guesses(training),
            callbacks.Listen(control),
        ],
    )
