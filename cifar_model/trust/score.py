"""Score a model that was brought in: what it answers to the test images, and no more than that can be said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cifar_model.data.cache import load_cifar10
from cifar_model.data.find import find_source
from cifar_model.data.split import fingerprints
from cifar_model.models.answers import write_answers
from cifar_model.models.card import load_card, write_card
from cifar_model.models.network import load_network
from cifar_model.trust.assess import outputs, test_scores


def score_model(path: Path, data: str | None = None, between: Callable[[], None] = lambda: None) -> dict:
    """Ask a model about all test images, and write its answers and scores into its directory.

    Nothing is fitted: for that, images are needed of which it is known that the model never saw them.

    Parameters
    ----------
    path : a model directory
    data : CIFAR-10's folder or archive; None: wherever it is found
    between : called after each batch

    Returns
    -------
    dict
        The card as it was written.

    Raises
    ------
    LabError
        No data, no model, or a directory that can't be written to.
    """
    card = load_card(path)
    _, (images, labels) = load_cifar10(data)
    labels = np.asarray(labels)
    (probabilities,) = outputs(load_network(path), images, between)
    scores, card["confusion"] = test_scores(labels, probabilities)
    card["scores"] = card.get("scores", {}) | scores
    card["data"] = card.get("data", {}) | {"test": len(labels)}
    card["scored_on"] = find_source(data).title
    write_answers(path, probabilities=probabilities, labels=labels, fingerprints=fingerprints(images))
    return write_card(path, card)
