"""Make a model folder of somebody's own network."""

import re
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import LabError, ModelError
from cifar_model.models.card import write_card
from cifar_model.models.importing import inspect
from cifar_model.models.importing.fit import PROBABILITIES, YES_OR_NO, Fit, check_classes, find_fit, scaling
from cifar_model.models.importing.load import is_own, load_foreign
from cifar_model.models.layout import ANSWERS_FILE, CARD_FILE, HISTORY_FILE, MODEL_FILE
from cifar_model.models.network import load_network, save_network
from cifar_model.networks.backend import import_keras
from cifar_model.networks.views import single_view
from cifar_model.storage import read_json, write_json

if TYPE_CHECKING:
    import keras

_LONGEST_NAME = 60  # characters, as runs.names allows
UNCALIBRATED = (
    "It has no calibration: which images it was trained on isn't known, so none is known to be new to it. Its "
    "percentages are the network's own softmax."
)


def import_model(
    path: Path,
    target: Path,
    *,
    pixels: str | None = None,
    classes: str | None = None,
    data: str | None = None,
) -> dict:
    """Make the model directory `target` of a file or folder that somebody brings, whole or not at all.

    Parameters
    ----------
    path : what `inspect.kind_of` knows
    target : a folder that doesn't exist yet; its name is the model's
    pixels : a key of `fit.PIXELS`; None: found on labelled pictures
    classes : all ten names in the order of the network's outputs, with commas between; None: found
    data : CIFAR-10's folder or archive for that; None: wherever it is found

    Returns
    -------
    dict
        The card: its part `imported` tells what was found.

    Raises
    ------
    SettingsError
        Classes that are not the ten.
    ModelError
        A file that is no model, is broken, holds code, maps other shapes, or whose ways can't be found out.
    LabError
        The folder is there already, or can't be written.
    """
    order = check_classes(classes)
    kind = inspect.kind_of(path)
    if target.exists():
        raise LabError(f"There is a {target.name!r} already: choose another name with --name.")
    temporary = target.with_name(f".{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        if kind == inspect.FOLDER:
            card = _copy_folder(path, temporary, target.name)
        else:
            card = _make(path, kind, temporary, target.name, pixels, order, data)
        card = write_card(temporary, card)
        write_json(
            temporary / "status.json",
            {"state": "finished", "message": f"brought in from {path.name}", "updated": time.time()},
        )
        temporary.rename(target)
    except OSError as error:
        raise LabError(f"Can't write {target}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card


def _copy_folder(path: Path, folder: Path, name: str) -> dict:
    """A folder of this lab with all that was measured, as it is."""
    import_keras()
    load_network(path)
    for file in (MODEL_FILE, HISTORY_FILE, ANSWERS_FILE):
        if (path / file).is_file():
            shutil.copyfile(path / file, folder / file)
    card = read_json(path / CARD_FILE) if (path / CARD_FILE).is_file() else {}
    return card | {"name": name}


def _make(path: Path, kind: str, folder: Path, name: str, pixels: str | None, order, data: str | None) -> dict:
    network = load_foreign(path, kind)
    own = is_own(network)
    if own and not pixels and not order:
        fit = Fit("0-255", tuple(range(len(CLASS_NAMES))), PROBABILITIES, None,
                  ("It is a network of this lab: it takes raw pixels and returns probabilities.",))  # fmt: skip
    else:
        fit = find_fit(network, pixels=pixels, order=order, data=data)
    own &= fit.pixels == "0-255" and fit.order == tuple(range(len(CLASS_NAMES)))
    save_network(network if own else assemble(network, fit), folder / MODEL_FILE)
    made = load_network(folder)  # what was written can be read, and nothing in it has to be trusted
    foreign = any(hasattr(layer, "differentiable") for layer in made.layers)
    return {
        "name": name,
        "network": single_view(network).name if own else "imported",
        "parameters": None if foreign else int(made.count_params()),
        "imported": {
            "file": path.name,
            "format": inspect.TITLES[kind],
            "pixels": fit.pixels,
            "output": fit.output,
            "classes": [CLASS_NAMES[i] for i in fit.order],
            "accuracy": fit.accuracy,
            "notes": [*fit.notes, UNCALIBRATED],
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    }


def assemble(network: "keras.Model", fit: Fit) -> "keras.Model":
    """A network as this lab has them around somebody's own: raw pixels 0–255 in, probabilities in our order out.

    The layers of `network` are used, not copied, and lie side by side with those added, so that what looks into a
    network finds them.
    """
    from keras import Input, Model, layers, ops

    taken = {layer.name for layer in network.layers}

    def named(name: str) -> str:
        while name in taken:
            name += "_"
        return name

    start = x = Input((IMAGE_SIZE, IMAGE_SIZE, 3), name=named("pixels"))
    if (found := scaling(fit.pixels)) is None:
        x = layers.LayerNormalization(
            axis=[1, 2, 3], center=False, scale=False, epsilon=1e-6, dtype="float32", name=named("scale")
        )(x)
    elif fit.pixels != "0-255":
        x = layers.Rescaling(*found, dtype="float32", name=named("scale"))(x)
    order = np.array(fit.order)
    if _reorder(network, order):
        order = np.arange(len(CLASS_NAMES))
    # The call of a network on a symbolic tensor would make it one layer; this runs its layers one by one.
    x = network.call(x)
    x = x[0] if isinstance(x, list | tuple) else x
    if fit.output == YES_OR_NO:
        p = ops.clip(ops.cast(x, "float32"), 1e-7, 1 - 1e-7)
        x = ops.subtract(ops.log(p), ops.log(ops.subtract(1.0, p)))
    if (order != np.arange(len(CLASS_NAMES))).any():
        put = layers.EinsumDense(
            "bi,io->bo", output_shape=len(CLASS_NAMES), trainable=False, dtype="float32", name=named("class_order")
        )
        x = put(x)
        put.set_weights([np.eye(len(CLASS_NAMES), dtype=np.float32)[order]])
    if fit.output != PROBABILITIES:
        x = layers.Softmax(dtype="float32", name=named("probabilities"))(x)
    elif x.dtype != "float32":
        x = layers.Activation("linear", dtype="float32", name=named("float32"))(x)
    try:
        return Model(start, x, name=network.name.removesuffix("-mirror-average") or "imported")
    except ValueError as error:
        raise ModelError(f"The network can't be joined with what it needs around it: {error}") from error


def _reorder(network: "keras.Model", order: np.ndarray) -> bool:
    """Put the last dense layer's outputs into our order, in place; False where another layer decides."""
    from keras import layers

    last = network.outputs[0]._keras_history.operation
    while isinstance(last, layers.Softmax | layers.Activation):
        last = last.input._keras_history.operation
    if not isinstance(last, layers.Dense) or last.units != len(CLASS_NAMES):
        return False
    last.set_weights([weights[..., np.argsort(order)] for weights in last.get_weights()])
    return True


def suggested_name(path: Path) -> str:
    """A name for a model after its file: "My net (2).h5" becomes "My-net-2"."""
    stem = path.resolve().name if path.is_dir() else path.name.removesuffix(".weights.h5")
    stem = stem if path.is_dir() else stem.rsplit(".", 1)[0]
    name = re.sub(r"[^A-Za-z0-9_]+", "-", stem).strip("-_")[:_LONGEST_NAME].rstrip("-_") or "imported"
    return f"{name}-own" if name.lower() in ("lab-net", "seed-cnn") else name
