"""A network in a file of another format, as a Keras layer: the file lies inside the ``.keras`` file.

So a model that came as a SavedModel, LiteRT or ONNX file is loaded, asked, explained and saved like any other.
"""

import importlib.util
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import ModelError

SAVED_MODEL, LITERT, ONNX = "saved-model", "litert", "onnx"
INSTALL = "python -m pip install -r requirements.txt -r requirements-formats.txt"

_PICTURE, _CHANNELS_FIRST = (IMAGE_SIZE, IMAGE_SIZE, 3), (3, IMAGE_SIZE, IMAGE_SIZE)
# Operations that do more than compute: a network needs none of them.
_FORBIDDEN = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles"}

Files = dict[str, bytes]  # path inside the layer's own folder: content


@keras.saving.register_keras_serializable(package="cifar_model")
class ForeignNetwork(keras.layers.Layer):
    """Pixels float32 (n, 32, 32, 3), in the range that the file's network wants, to its ten numbers float32 (n, 10).

    Parameters
    ----------
    kind : SAVED_MODEL, LITERT or ONNX
    files : what the network consists of; None for a layer that Keras is about to load

    Attributes
    ----------
    differentiable : bool, whether gradients pass through it

    Raises
    ------
    ModelError
        A file that can't be read, one of other shapes, or a runtime that isn't installed.
    """

    def __init__(self, kind: str, files: Files | None = None, **keywords):
        super().__init__(**{"trainable": False, "dtype": "float32"} | keywords)
        self.kind = kind
        self.differentiable = kind == SAVED_MODEL
        self._content = _Content()
        if files is not None:
            self._open(files)

    def _open(self, files: Files) -> None:
        self._content.files = files
        if self.kind == SAVED_MODEL:
            self._loaded, self._content.answer = _open_saved_model(files)  # an attribute, so that Keras exports it too
        else:
            run = {LITERT: _open_litert, ONNX: _open_onnx}[self.kind](next(iter(files.values())))
            self._content.answer = _in_graph(run)

    def call(self, pixels):
        return tf.ensure_shape(self._content.answer(pixels), (None, len(CLASS_NAMES)))

    def compute_output_spec(self, pixels, **_):
        return keras.KerasTensor((pixels.shape[0], len(CLASS_NAMES)), "float32")

    def get_config(self) -> dict:
        return super().get_config() | {"kind": self.kind}

    def save_assets(self, inner_path) -> None:
        for name, content in self._content.files.items():
            file = Path(inner_path) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    def load_assets(self, inner_path) -> None:
        self._open(read_files(Path(inner_path)))


class _Content:
    """Hidden in an object of its own, so that neither Keras nor TensorFlow takes it for weights."""

    files: Files
    answer: Callable


def read_files(folder: Path) -> Files:
    """All files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _open_saved_model(files: Files) -> tuple[object, Callable]:
    """What TensorFlow loaded, which has to be kept, and the signature ``serving_default``."""
    graph = saved_model_pb2.SavedModel()  # ty: ignore[missing-attribute]  (made at import)
    try:
        graph.ParseFromString(files["saved_model.pb"])
    except Exception:
        raise ModelError("Its saved_model.pb can't be read: it is cut short or damaged. Copy it again.") from None
    for meta in graph.meta_graphs:
        nodes = [*meta.graph_def.node, *(node for f in meta.graph_def.library.function for node in f.node_def)]
        if found := sorted({node.op for node in nodes} & _FORBIDDEN):
            raise ModelError(
                f"It runs code or touches files ({', '.join(found)}), which isn't allowed for a network from elsewhere."
            )
    with tempfile.TemporaryDirectory(prefix="saved-model-") as folder:
        for name, content in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        try:
            loaded = tf.saved_model.load(folder)
        except Exception as error:
            raise ModelError(f"TensorFlow can't load this SavedModel: {_first_line(error)}") from error
    signatures = dict(loaded.signatures)
    signature = signatures.get("serving_default") or (next(iter(signatures.values())) if len(signatures) == 1 else None)
    if signature is None:
        raise ModelError(
            f"It has no signature serving_default (found: {', '.join(signatures) or 'none'}). "
            "Save it with model.export(FOLDER) or tf.saved_model.save."
        )
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if len(inputs) != 1:
        raise ModelError(f"It wants {len(inputs)} inputs ({', '.join(inputs)}); expected one, the picture.")
    ((name, spec),) = inputs.items()
    tens = [key for key, out in outputs.items() if out.shape.is_compatible_with((None, len(CLASS_NAMES)))]
    first = spec.shape[0] if spec.shape.rank else None
    if not spec.shape.is_compatible_with((first, *_PICTURE)) or len(tens) != 1:
        shapes = ", ".join(str(output.shape) for output in outputs.values())
        raise ModelError(f"It maps {spec.shape} to {shapes}; {_EXPECTED}")
    single = first == 1

    def answer(pixels):
        pixels = tf.cast(pixels, spec.dtype)
        if single:
            found = tf.map_fn(lambda one: signature(**{name: one[None]})[tens[0]][0], pixels, fn_output_signature=
                              outputs[tens[0]].dtype)  # fmt: skip
        else:
            found = signature(**{name: pixels})[tens[0]]
        return tf.cast(found, tf.float32)

    return loaded, answer


_EXPECTED = "expected one picture (None, 32, 32, 3) or (None, 3, 32, 32) to ten numbers (None, 10)."


def _in_graph(run: Callable[[np.ndarray], np.ndarray]) -> Callable:
    lock = threading.Lock()

    def locked(pixels: np.ndarray) -> np.ndarray:
        with lock:
            return run(pixels)

    return lambda pixels: tf.numpy_function(locked, [pixels], tf.float32)


def litert_interpreter(content: bytes):
    """An interpreter of a LiteRT file's bytes, by ai-edge-litert where it is installed, else by TensorFlow."""
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter  # loads a runtime of its own
    else:
        Interpreter = getattr(getattr(tf, "lite", None), "Interpreter", None)
    if Interpreter is None:
        raise ModelError(f"LiteRT files need the package ai-edge-litert: {INSTALL}")
    return Interpreter(model_content=content, num_threads=2)


def _open_litert(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    try:
        interpreter = litert_interpreter(content)
        interpreter.allocate_tensors()
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"LiteRT can't read this file: {_first_line(error)} It is cut short or damaged, or it uses operations "
            "of TensorFlow that LiteRT has not."
        ) from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    shape = tuple(int(size) for size in inputs[0]["shape_signature"]) if len(inputs) == 1 else None
    output = tuple(int(size) for size in outputs[0]["shape"]) if len(outputs) == 1 else None
    if not shape or not output or shape[1:] not in (_PICTURE, _CHANNELS_FIRST) or output[1:] != (len(CLASS_NAMES),):
        found = [[tuple(map(int, one["shape_signature"])) for one in part] for part in (inputs, outputs)]
        raise ModelError(f"It maps {_listed(found[0])} to {_listed(found[1])}; {_EXPECTED}")
    where, to = inputs[0]["index"], outputs[0]["index"]

    def run(pixels: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != pixels.shape:
            interpreter.resize_tensor_input(where, pixels.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(where, _quantized(pixels, inputs[0]))
        interpreter.invoke()
        return _real(interpreter.get_tensor(to), outputs[0])

    return _batched(run, shape)


def _quantized(pixels: np.ndarray, detail: dict) -> np.ndarray:
    """Numbers as an integer tensor of LiteRT stores them: round(x / scale + zero)."""
    scale, zero = detail["quantization"]
    if scale:
        limits = np.iinfo(detail["dtype"])
        pixels = np.clip(np.rint(pixels / scale + zero), limits.min, limits.max)
    return pixels.astype(detail["dtype"])


def _real(values: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    return ((values.astype(np.float32) - zero) * scale if scale else values).astype(np.float32)


def _open_onnx(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    if not importlib.util.find_spec("onnxruntime"):
        raise ModelError(f"ONNX files need the package onnxruntime: {INSTALL}")
    import onnxruntime  # loads a runtime of its own

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime can't read this file: {_first_line(error)} It is cut short or damaged, or its weights lie "
            "in a second file: save it as one."
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shapes = [[tuple(size if isinstance(size, int) else None for size in one.shape) for one in part]
              for part in (inputs, outputs)]  # fmt: skip
    shape = shapes[0][0] if len(inputs) == 1 else ()
    if shape[1:] not in (_PICTURE, _CHANNELS_FIRST) or len(outputs) != 1 or shapes[1][0][-1:] not in (
        (len(CLASS_NAMES),), (None,)
    ):  # fmt: skip
        raise ModelError(f"It maps {_listed(shapes[0])} to {_listed(shapes[1])}; {_EXPECTED}")
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8,
             "tensor(double)": np.float64}  # fmt: skip
    kind, name = kinds.get(inputs[0].type), inputs[0].name
    if kind is None:
        raise ModelError(f"It wants pixels as {inputs[0].type}; expected numbers (float) or bytes (uint8).")

    def run(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {name: pixels.astype(kind)})[0], np.float32)

    return _batched(run, shape)


def _batched(run: Callable, shape: tuple) -> Callable[[np.ndarray], np.ndarray]:
    """`run` for float32 (n, 32, 32, 3): channels where the file has them; one picture at a time where it must be."""

    def answer(pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.transpose(0, 3, 1, 2) if shape[1:] == _CHANNELS_FIRST else pixels
        pixels = np.ascontiguousarray(pixels, np.float32)
        if not len(pixels):
            return np.empty((0, len(CLASS_NAMES)), np.float32)
        if not single:
            return run(pixels)
        return np.concatenate([run(pixels[i : i + 1]) for i in range(len(pixels))])

    single = shape[0] == 1
    if single or not len(shape):
        return answer
    try:
        found = answer(np.zeros((2, *_PICTURE), np.float32))
        single = found.shape != (2, len(CLASS_NAMES))
    except Exception:  # a reshape inside may fix the number of pictures, whatever the file says
        single = True
    if single and answer(np.zeros((2, *_PICTURE), np.float32)).shape != (2, len(CLASS_NAMES)):
        raise ModelError(f"It answers with {found.shape[1:]} numbers; {_EXPECTED}")
    return answer


def _listed(shapes: list[tuple]) -> str:
    return ", ".join(str(tuple(None if size == -1 else size for size in shape)) for shape in shapes) or "nothing"


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    line = line if len(line) <= 200 else line[:199] + "…"
    return line if line.endswith(".") else f"{line}."
