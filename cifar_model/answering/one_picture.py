"""A network for browsers: one picture in, ten probabilities out, as a LiteRT file made once for each content."""

import hashlib
from pathlib import Path

from cifar_model.errors import ModelError
from cifar_model.models.exporting.formats import write_litert
from cifar_model.models.layout import MODEL_FILE
from cifar_model.models.network import load_network
from cifar_model.networks.backend import import_keras
from cifar_model.storage import caches_dir, keep_newest, replacing

KEPT = 12  # files, 9 MB each for lab-net; the oldest go first
_FORMAT = b"1"  # changes when the same network would give another file


def one_picture_folder() -> Path:
    """Where the files lie: below CIFAR_LAB_CACHE, else in the user's cache directory. Made where it is missing.

    Raises ModelError where it can't be made.
    """
    folder = caches_dir() / "browser"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"Networks for browsers can't be kept in {folder} ({error.strerror}). "
            "Set CIFAR_LAB_CACHE to a folder that can be written."
        ) from None
    return folder


def one_picture_file(model: Path) -> Path:
    """The file, existing or not, for the network of a model directory or ``.keras`` file; its name is its content's.

    Raises ModelError where the network can't be read.
    """
    file = model / MODEL_FILE if model.is_dir() else model
    digest = hashlib.sha256(_FORMAT)
    try:
        digest.update(file.read_bytes())
    except OSError as error:
        raise ModelError(f"{file} can't be read ({error.strerror}).") from None
    return one_picture_folder() / f"{digest.hexdigest()[:32]}.tflite"


def make_one_picture(model: Path) -> Path:
    """The network of a model as a LiteRT file, made unless it is there already; needs TensorFlow.

    The file maps float32 (1, 32, 32, 3), pixels 0–255, to float32 (1, 10), the network's own softmax. Its batch is
    fixed, as LiteRT.js wants it.

    Raises ModelError where the network can't be read, or holds layers that LiteRT has no form of.
    """
    file = one_picture_file(model)
    if file.is_file():
        return file
    import_keras()
    network = load_network(model)
    with replacing(file) as temporary:
        write_litert(network, temporary, pictures=1)
    keep_newest(file, KEPT)
    return file
