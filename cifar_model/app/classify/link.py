"""What a link to Classify says: the sample photograph and the models. Own pictures stay with the visit."""

from cifar_model.app.classify.answers import Entry
from cifar_model.app.shared.options import write_link
from cifar_model.app.shared.reading import Reading
from cifar_model.models.folder import ModelInfo


def write_classify_link(chosen: Entry, models: list[ModelInfo], reading: Reading) -> None:
    """Put what is looked at into the page's address."""
    # Whoever is to guess first isn't told by the address.
    link = {"sample": chosen.truth} if chosen.truth and not reading.predict else {}
    if models:
        link["model"] = ",".join(model.name for model in models)
    write_link(**link)
