"""The end of a run: its best network is scored, and what came of it is said in words."""

import logging
import math

from cifar_model.data.distilled import mini_score
from cifar_model.errors import LabError
from cifar_model.models.card import Card
from cifar_model.models.compiled import can_compile, compile_model
from cifar_model.models.layout import MODEL_FILE
from cifar_model.models.network import load_network
from cifar_model.text import share
from cifar_model.training.card_of_run import write_card
from cifar_model.training.settings import default_settings
from cifar_model.training.state import Training
from cifar_model.trust.assess import assess

log = logging.getLogger(__name__)

GUESSING = 0.1  # accuracy of somebody who guesses among ten classes


def finish(training: Training) -> Card:
    """Score the best network of a run that is over, write card and last status, and return the card."""
    settings, state, data = training.settings, training.state, training.data
    control, directory = training.control, training.directory
    stopped = control.stopping and state.epoch < settings.epochs
    control.paused, control.stopping = False, False
    scores, found = {"validation_accuracy": state.best_accuracy}, None
    if data.test:
        training.report("note", {"message": "Scoring the best network on the test images."})
        found = assess(
            load_network(directory.path / MODEL_FILE),
            selection=data.selection,
            untouched=data.untouched,
            test=data.test,
            between=control.poll,
        )
        found.save(directory.path)
        scores |= found.card["scores"]
    card = Card.from_dict(write_card(training, scores, found and found.card))
    compile_run(training)
    message = f"{_score_in_words(card)} {learned_nothing(card)}".strip()
    if state.epoch < settings.epochs and not stopped:
        early = f"It ended after {state.epoch} of {settings.epochs} epochs: {_why_early(training)}."
        training.report("note", {"message": early})
        message = f"{message} {early}"
    if stopped and control.gave_way:
        message = f"It was paused for so long that it made room for others: continue it when you like. {message}"
    if stopped and control.why:
        message = f"{control.why} {message}"
        directory.set_status("stopped", message, why=control.why)
    else:
        directory.set_status("stopped" if stopped else "finished", message)
    return card


def compile_run(training: Training) -> None:
    """Write the compiled form of a run's network, by which it answers without TensorFlow; no run fails for it."""
    if not can_compile():
        return
    training.report("note", {"message": "Compiling the network, so that it answers quickly."})
    try:
        compile_model(training.directory.path, beside=True)
    except Exception as error:
        log.warning("the network has no compiled form", exc_info=True)
        reason = str(error) if isinstance(error, LabError) else "the log says why."
        training.report("note", {"message": f"It could not be compiled, so Keras answers for it: {reason}"})


def learned_nothing(card: Card) -> str:
    """What to say of a network that is no better than guessing, and what to change; empty where it is better."""
    settings, accuracy, count = card.settings, card.scores.test_accuracy, card.data.test
    if accuracy is None:
        accuracy, count = card.scores.validation_accuracy or 0.0, card.data.validation
    count = max(1, count or 0)
    # Two points, or three standard deviations where so few images were asked that luck reaches further.
    if accuracy > GUESSING + max(0.02, 3 * math.sqrt(GUESSING * (1 - GUESSING) / count)):
        return ""
    usual = default_settings(settings["network"], settings["recipe"], settings.get("data")).learning_rate
    rate = settings["learning_rate"]
    if card.best_epoch == 0:
        return f"It has learned nothing yet: {share(accuracy)} is no better than guessing. Continue it."
    if rate > 1.5 * usual:
        advice = f"Start again with a lower learning rate: this one was {rate:g}, the recipe's is {usual:g}."
    elif rate < usual / 5:
        advice = f"Start again with a higher learning rate: this one was {rate:g}, the recipe's is {usual:g}."
    else:
        advice = "Start again with a lower learning rate, more epochs or more images."
    return f"It learned nothing: {share(accuracy)} is no better than guessing. {advice}"


def _score_in_words(card: Card) -> str:
    if card.scores.test_accuracy is not None:
        return f"Test accuracy {share(card.scores.test_accuracy, 2)} (epoch {card.best_epoch})."
    accuracy = card.scores.validation_accuracy
    message = f"{share(accuracy)} of the synthetic validation images (epoch {card.best_epoch})."
    if score := mini_score(card.network):
        message += f" Of real photographs such a network classifies about {share(score[0], 0)} correctly."
    return message


def _why_early(training: Training) -> str:
    best, waited = training.state.early_stopping or (None, 0)
    if training.settings.early_stopping and waited >= training.settings.early_stopping:
        return f"the validation accuracy has not improved for {waited} epoch{'s' if waited > 1 else ''}"
    return "a callback ended it"
