"""A network's file: written whole, read without running code from it."""

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from cifar_model.errors import ModelError
from cifar_model.models.layout import MODEL_FILE
from cifar_model.storage import replacing

if TYPE_CHECKING:
    import keras


# Entries of layers and initializers that Keras 3.5 to 3.12 don't know; None is what they would assume.
_NEWER_ENTRIES = ("quantization_config", "input_axes", "output_axes")
_RENORM_ENTRIES = ("renorm", "renorm_clipping", "renorm_momentum")  # of BatchNormalization, where renorm is off


def save_network(network: "keras.Model", path: Path) -> None:
    """Save `network` as the ``.keras`` file `path`, whole or not at all; LabError where it can't be written."""
    with replacing(path) as temporary:
        network.save(temporary)
        _make_portable(temporary)


def _make_portable(file: Path) -> None:
    """Leave entries out of a ``.keras`` file's configuration that say nothing and that older Keras 3 refuses."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = json.dumps(portable_config(json.loads(parts["config.json"]))).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def portable_config(config):
    if isinstance(config, dict):
        return {
            key: portable_config(value)
            for key, value in config.items()
            if not ((key in _NEWER_ENTRIES and value is None) or (key in _RENORM_ENTRIES and not config["renorm"]))
        }
    return [portable_config(value) for value in config] if isinstance(config, list) else config


def load_network(path: Path) -> "keras.Model":
    """The network of a model directory, or of a ``.keras`` file.

    Raises
    ------
    ModelError
        Where the file is missing, broken, or not a network from (n, 32, 32, 3) to (n, 10). Code in the file
        (lambda layers) is never run.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        from cifar_model.networks import foreign  # noqa: F401  brings TensorFlow; Keras has to know its layer

    file = path / MODEL_FILE if path.is_dir() else path
    try:
        network = keras.saving.load_model(file, compile=False, safe_mode=True)
    except ModelError:
        raise
    except Exception as error:  # Keras raises many kinds on a broken or hostile file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{file} can't be loaded as a Keras model: {reason} Expected a .keras file from this lab's `train`."
        ) from error
    shapes = (network.input_shape, network.output_shape)
    if shapes != ((None, 32, 32, 3), (None, 10)):
        raise ModelError(f"{file} maps {shapes[0]} to {shapes[1]}; expected (None, 32, 32, 3) to (None, 10).")
    return network
