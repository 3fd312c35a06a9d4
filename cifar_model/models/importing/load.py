"""The network in a file, whatever the format: from pixels in its own range to its own ten numbers."""

import re
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import LabError, ModelError
from cifar_model.models.importing import inspect
from cifar_model.networks.backend import import_keras
from cifar_model.networks.build import build_network
from cifar_model.networks.choices import NETWORKS
from cifar_model.networks.views import MIRROR_SUFFIX, mirror_average, single_view

if TYPE_CHECKING:
    import keras


def load_foreign(path: Path, kind: str) -> "keras.Model":
    """A network that takes float32 (n, 32, 32, 3) and answers ten numbers.

    Parameters
    ----------
    path, kind : as `inspect.kind_of` found it

    Raises
    ------
    ModelError
        A file that is broken, runs code, or maps other shapes.
    """
    import_keras()
    if kind == inspect.KERAS:
        inspect.check_keras_file(path)
        return _checked(_loaded(path, ".keras"), path.name)
    if kind == inspect.HDF5:
        inspect.check_hdf5_config(path)
        return _checked(_loaded(path, ".h5"), path.name)
    if kind == inspect.WEIGHTS:
        return _with_weights(path)
    return _wrapped(path, kind)


def is_own(network: "keras.Model") -> bool:
    """Whether it is one of this lab's networks, which take raw pixels and answer probabilities."""
    inner = single_view(network)
    names = {layer.name for layer in inner.layers}
    return network.name.removesuffix(MIRROR_SUFFIX) in NETWORKS and {"pixels", "scale", "probabilities"} <= names


def _loaded(path: Path, suffix: str) -> "keras.Model":
    import keras

    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        file = Path(folder) / f"model{suffix}"  # Keras goes by the name's end
        shutil.copyfile(path, file)
        try:
            return keras.saving.load_model(file, compile=False, safe_mode=True)
        except LabError:
            raise
        except Exception as error:  # Keras raises many kinds on a broken or hostile file
            raise ModelError(
                f"{path.name} can't be loaded by Keras {keras.__version__}: {_reason(error)} If it was saved by Keras "
                "2, save it there as a SavedModel (model.export), and bring in that folder."
            ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = next((line for line in lines if line.startswith("Exception encountered: ")), lines[0])
    line = line.removeprefix("Exception encountered: ")
    line = line if len(line) <= 200 else line[:199] + "…"
    return line if line.endswith((".", "…")) else f"{line}."


def _checked(network: "keras.Model", name: str) -> "keras.Model":
    """The network if it maps pictures to ten numbers; ModelError if not."""
    from keras import Input, Model

    if not isinstance(network, Model):
        raise ModelError(f"{name} holds a {type(network).__name__}, expected a whole model.")
    if not getattr(network, "built", True) or not _has_shapes(network):
        try:
            network.build((None, IMAGE_SIZE, IMAGE_SIZE, 3))
        except Exception:
            raise ModelError(f"{name} doesn't say what input it takes, and 32 × 32 × 3 doesn't fit.") from None
    if not _has_shapes(network) or len(network.inputs) != 1 or len(network.outputs) != 1:
        found = ", ".join(f"{part}: {len(getattr(network, part, ()))}" for part in ("inputs", "outputs"))
        raise ModelError(f"{name} must take one picture and return ten numbers. Found {found}.")
    takes, gives = tuple(network.inputs[0].shape), tuple(network.outputs[0].shape)
    wanted = (IMAGE_SIZE, IMAGE_SIZE, 3)
    if takes[0] is not None and takes[1:] == wanted:  # built by its first call, on a batch of that many
        pixels = Input(wanted, dtype=network.inputs[0].dtype)
        with suppress(Exception):  # where its layers are fixed to that batch
            network = Model(pixels, network(pixels), name=network.name)
        takes, gives = tuple(network.inputs[0].shape), tuple(network.outputs[0].shape)
    fits = len(takes) == 4 and takes[0] is None and all(a in (None, b) for a, b in zip(takes[1:], wanted, strict=True))
    if not fits or gives != (None, len(CLASS_NAMES)):
        raise ModelError(
            f"{name} maps {takes} to {gives}; expected pictures (None, 32, 32, 3) to ten numbers (None, 10), one for "
            "each class of CIFAR-10." + _enlarging(takes)
        )
    return network


def _enlarging(takes: tuple) -> str:
    """What to do where a network wants larger pictures in colour; empty for all else."""
    if len(takes) != 4 or None in takes[1:] or takes[3] != 3 or min(takes[1:3]) < IMAGE_SIZE:
        return ""
    return (
        " Enlarge them inside the model: keras.Sequential([keras.Input((32, 32, 3)), "
        f"keras.layers.Resizing({takes[1]}, {takes[2]}), model])."
    )


def _has_shapes(network: "keras.Model") -> bool:
    try:
        return bool(network.inputs) and bool(network.outputs)
    except (AttributeError, ValueError):
        return False


def _wrapped(path: Path, kind: str) -> "keras.Model":
    """A file that Keras can't load as a layer of a network."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ModelError(f"A {inspect.TITLES[kind]} needs Keras on TensorFlow: unset KERAS_BACKEND.")
    from cifar_model.networks.foreign import ForeignNetwork, read_files  # brings TensorFlow

    files = read_files(path) if path.is_dir() else {f"network.{kind}": path.read_bytes()}
    if sum(map(len, files.values())) > inspect.LARGEST_BYTES:
        raise ModelError(f"{path.name} is larger than {inspect.LARGEST_BYTES / 1e9:.0f} GB.")
    if path.is_dir():  # what else lies there is none of the network's
        files = {name: content for name, content in files.items()
                 if name == "saved_model.pb" or name.startswith(("variables/", "assets/"))}  # fmt: skip
    try:
        layer = ForeignNetwork(kind, files, name="network")
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error
    pixels = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    return keras.Model(pixels, layer(pixels), name="imported")


def _with_weights(path: Path) -> "keras.Model":
    """One of this lab's networks with the weights of a file; found by trying them all."""
    import h5py

    arrays: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        legacy = "layer_names" in file.attrs
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if hasattr(item, "shape") else None)
    held = {_mark(array) for array in arrays.values()}
    with tempfile.TemporaryDirectory(prefix="import-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that the file has not
        copy = Path(folder) / ("model.h5" if legacy else "model.weights.h5")  # Keras goes by the name's end
        shutil.copyfile(path, copy)
        for make in (lambda: build_network("seed-cnn"), lambda: build_network("lab-net"), lambda: _custom(arrays)):
            for average in (lambda network: network, mirror_average):
                try:
                    network = average(make())
                    network.load_weights(copy)
                except Exception:  # other shapes, other layers: Keras raises many kinds
                    continue
                # Keras may leave layers as they were, with a warning.
                if all(_mark(weights) in held for weights in network.get_weights()):
                    return network
    raise ModelError(
        f"{path.name} holds weights without a network, and they fit none of this lab's ({', '.join(NETWORKS)}). "
        "Save the whole model: model.save('model.keras')."
    )


def _mark(array: np.ndarray) -> tuple:
    return np.shape(array), np.asarray(array, np.float32).tobytes()


def _custom(arrays: dict[str, np.ndarray]) -> "keras.Model":
    """A network of the architecture "custom" whose filters and dense layer have these arrays' shapes."""

    def place(name: str) -> list:
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    shapes = [arrays[name].shape for name in sorted(arrays, key=place)]
    filters = tuple(shape[3] for shape in shapes if len(shape) == 4)
    dense = [shape[1] for shape in shapes if len(shape) == 2]
    return build_network("custom", filters=filters, dense=dense[0])
