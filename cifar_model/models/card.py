"""A model's card."""

from pathlib import Path

from cifar_model.models.layout import CARD_FILE, EPOCHS_FOLDER
from cifar_model.storage import read_json


def load_card(path: Path) -> dict:
    """The card of a model directory (or of the run to which an epoch's file belongs); ModelError if unreadable."""
    folder = path if path.is_dir() else path.parent.parent if path.parent.name == EPOCHS_FOLDER else path.parent
    return read_json(folder / CARD_FILE)
