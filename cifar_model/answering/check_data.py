"""Whether data is the CIFAR-10 that it is said to be: a network that ships with the project is asked."""

import json
from contextlib import suppress

from cifar_model.answering.classifier import Classifier
from cifar_model.data.cache import cache_entry
from cifar_model.data.sources import Source, Split
from cifar_model.errors import LabError
from cifar_model.storage import write_json
from cifar_model.trust.doubts import FEWEST, data_doubts

CHECKING = "seed-cnn"  # the smallest network that ships


def check_data(source: Source, train: Split, test: Split) -> str | None:
    """What `doubts.data_doubts` finds odd about either part, or None; each copy of the data is asked about once.

    The answer is kept beside the decoded images. None also where the project's own network is missing.
    """
    try:
        known = cache_entry(source) / "doubts.json"
        with suppress(OSError, ValueError, KeyError):
            return json.loads(known.read_text(encoding="utf-8"))["found"]
        parts = {part: split for part, split in (("test", test), ("training", train)) if len(split[1]) >= FEWEST}
        if not parts:
            return None
        classifier = Classifier(CHECKING)
        expected = classifier.card.scores.test_accuracy
    except LabError:
        return None
    found = None
    for part, split in parts.items():
        if expected is not None and found is None:
            asked = f"{CHECKING}, which ships with this project,"
            found = data_doubts(classifier.predict, *split, expected, asked=asked, part=part)
    with suppress(OSError, LabError):
        write_json(known, {"found": found})
    return found
