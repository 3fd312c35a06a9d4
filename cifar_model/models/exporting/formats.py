"""The formats that a network can be exported to: how each is written, read back, and used by somebody."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ModelError
from cifar_model.models.network import portable_config, save_network
from cifar_model.networks.portable import without_normalization

if TYPE_CHECKING:
    import keras

Answer = Callable[[np.ndarray], np.ndarray]  # float32 (n, 32, 32, 3), pixels 0–255 → float32 (n, 10)
INSTALL = "python -m pip install -r requirements.txt -r requirements-formats.txt"


@dataclass(frozen=True)
class Format:
    """One format.

    title : for a person; files : what is written, each with what it is for; packages : what writing or checking needs
    and requirements.txt lacks; write : network, folder → writes `files`; read : one of the files → an `Answer`;
    brings, asks : Python that imports what reads it, and that answers float32 `pixels` (1, 32, 32, 3)
    """

    title: str
    files: dict[str, str]
    write: Callable[["keras.Model", Path], None]
    read: Callable[[Path], Answer]
    brings: str
    asks: str
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Packages to install first."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


def write_litert(network: "keras.Model", file: Path, *, pictures: int | None = None) -> None:
    """A network as a LiteRT file from float32 (n, 32, 32, 3) to float32 (n, 10).

    `pictures` fixes n, as browsers and small devices want it; None leaves it open.

    Raises ModelError where the network holds what LiteRT has no form of, or Keras runs without TensorFlow.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ModelError("Only Keras on TensorFlow writes LiteRT files: unset KERAS_BACKEND.")
    import tensorflow as tf

    shape = tf.TensorSpec((pictures, IMAGE_SIZE, IMAGE_SIZE, 3), tf.float32, name="pixels")
    _tried(lambda: network.export(file, format="litert", input_signature=[shape], verbose=False), network, "LiteRT")


def write_onnx(network: "keras.Model", file: Path) -> None:
    """A network as an ONNX file with one input, float32 (n, 32, 32, 3), and one output, float32 (n, 10).

    Raises ModelError as `write_litert`.
    """

    def write() -> None:
        plain = without_normalization(network)
        plain(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.float32))  # the exporter wants one that was called
        plain.export(file, format="onnx", verbose=False)

    _tried(write, network, "ONNX")


def _tried(write: Callable[[], None], network: "keras.Model", title: str) -> None:
    try:
        write()
    except Exception as error:  # converters raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ModelError(f"The network {network.name!r} can't be turned into {title}: {reason}") from error


def _write_litert_files(network: "keras.Model", folder: Path) -> None:
    write_litert(network, folder / "model.tflite")
    write_litert(network, folder / "model-one.tflite", pictures=1)


def _write_saved_model(network: "keras.Model", folder: Path) -> None:
    _tried(lambda: network.export(folder / "saved_model", format="tf_saved_model", verbose=False), network,
           "a SavedModel")  # fmt: skip


def _write_h5(network: "keras.Model", folder: Path) -> None:
    import h5py

    def write() -> None:
        network.save(folder / "model.h5")
        with h5py.File(folder / "model.h5", "r+") as file:
            file.attrs["model_config"] = json.dumps(portable_config(json.loads(file.attrs["model_config"])))

    _tried(write, network, "an HDF5 file")


def _read_keras(file: Path) -> Answer:
    import keras

    network = keras.saving.load_model(file, compile=False)
    return lambda pixels: np.asarray(network.predict_on_batch(pixels))


def _read_saved_model(folder: Path) -> Answer:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    return lambda pixels: loaded.serve(pixels).numpy()


def _read_litert(file: Path) -> Answer:
    from cifar_model.networks.foreign import litert_interpreter  # brings TensorFlow

    interpreter = litert_interpreter(file.read_bytes())
    (at,), (to,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pixels: np.ndarray) -> np.ndarray:
        if at["shape_signature"][0] == -1:
            interpreter.resize_tensor_input(at["index"], pixels.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(at["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(to["index"])

    if at["shape_signature"][0] == -1:
        return run
    return lambda pixels: np.concatenate([run(pixels[i : i + 1]) for i in range(len(pixels))])


def _read_onnx(file: Path) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = [one.name for one in session.get_inputs()]
    if len(found) != 1:
        raise ModelError(f"{file.name} came out with {len(found)} inputs ({', '.join(found)}); expected one.")
    return lambda pixels: np.asarray(session.run(None, {found[0]: pixels})[0])


FORMATS = {
    "litert": Format(
        "LiteRT (TensorFlow Lite)",
        {
            "model.tflite": "for any number of pictures at a time",
            "model-one.tflite": "for one picture at a time: phones, browsers, small devices",
        },
        _write_litert_files,
        _read_litert,
        "from ai_edge_litert.interpreter import Interpreter",
        'Interpreter("model-one.tflite").get_signature_runner()(pixels=pixels)["output_0"][0]',
        ("ai_edge_litert",),
    ),
    "onnx": Format(
        "ONNX",
        {"model.onnx": "for ONNX Runtime and all else that reads ONNX"},
        lambda network, folder: write_onnx(network, folder / "model.onnx"),
        _read_onnx,
        "import onnxruntime",
        'onnxruntime.InferenceSession("model.onnx").run(None, {"pixels": pixels})[0][0]',
        ("tf2onnx", "onnxruntime"),
    ),
    "saved-model": Format(
        "SavedModel (TensorFlow)",
        {"saved_model": "a folder, for TensorFlow and TensorFlow Serving"},
        _write_saved_model,
        _read_saved_model,
        "import tensorflow as tf",
        '(model := tf.saved_model.load("saved_model")).serve(pixels).numpy()[0]',
    ),
    "h5": Format(
        "HDF5 (Keras)",
        {"model.h5": "for Keras 3.5 and later; Keras's older format"},
        _write_h5,
        _read_keras,
        "import keras",
        'keras.models.load_model("model.h5", compile=False).predict(pixels)[0]',
    ),
    "keras": Format(
        "Keras 3",
        {"model.keras": "for Keras 3.5 and later, on TensorFlow, JAX or PyTorch"},
        lambda network, folder: save_network(network, folder / "model.keras"),
        _read_keras,
        "import keras",
        'keras.models.load_model("model.keras", compile=False).predict(pixels)[0]',
    ),
}
