"""What computes an answer: LiteRT where a model has a compiled form, else Keras. Both give the same to 1e-5."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ModelError, SettingsError
from cifar_model.models.compiled import read_compiled
from cifar_model.networks.backend import import_keras, on_tensorflow
from cifar_model.networks.litert import INTERPRETERS, LiteRTNetwork
from cifar_model.networks.views import with_features

if TYPE_CHECKING:
    import keras

LITERT, KERAS = "litert", "keras"

log = logging.getLogger(__name__)


class Engine(Protocol):
    """Answers pictures uint8 (n ≥ 1, 32, 32, 3): probabilities float32 (n, 10), and features float32 (n, d) or none."""

    has_features: bool

    def answer(self, pixels: np.ndarray) -> list[np.ndarray]: ...


def check_engine(name: str | None) -> None:
    """SettingsError where it is none of "litert", "keras" and None."""
    if name not in (LITERT, KERAS, None):
        raise SettingsError(f"Unknown engine {name!r}. Choose {LITERT!r} or {KERAS!r}, or leave it out.")


def compiled_engine(model: Path, interpreters: int = INTERPRETERS) -> Engine | None:
    """LiteRT with a model's compiled form; None where there is none, or whoever started this wants another backend."""
    if not on_tensorflow() or (content := read_compiled(model)) is None:
        return None
    try:
        return LiteRTNetwork(content, interpreters)
    except Exception as error:  # a runtime too old for the file, a library that can't be loaded
        log.warning("LiteRT can't be used for %s, so Keras answers: %s", model, error)
        return None


class KerasEngine:
    """A network asked by Keras, on whatever backend."""

    def __init__(self, network: "keras.Model"):
        keras = import_keras()
        try:
            network = with_features(network)
            self.has_features = True
        except ModelError:  # somebody's own network, without a dense layer at its end
            self.has_features = False
        self._network = network
        self._graph = _traced(network) if keras.backend.backend() == "tensorflow" else None

    def answer(self, pixels: np.ndarray) -> list[np.ndarray]:
        if self._graph is not None:
            import tensorflow as tf  # slow to import; no other backend needs it

            return _as_list(self._graph(tf.constant(pixels)))
        # JAX compiles for each batch size: powers of two keep those few.
        padding = (1 << (len(pixels) - 1).bit_length()) - len(pixels)
        padded = np.pad(pixels, ((0, padding), (0, 0), (0, 0), (0, 0)))
        return [output[: len(pixels)] for output in _as_list(self._network.predict_on_batch(padded))]


def _traced(network: "keras.Model"):
    """The network as a graph, traced once for all n: `model.predict` costs 77 ms a call."""
    import tensorflow as tf  # slow to import

    spec = tf.TensorSpec((None, IMAGE_SIZE, IMAGE_SIZE, 3), tf.uint8)
    traced = tf.function(lambda pixels: network(pixels, training=False), input_signature=[spec])
    return traced.get_concrete_function()


def _as_list(outputs) -> list[np.ndarray]:
    return [np.asarray(output) for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]
