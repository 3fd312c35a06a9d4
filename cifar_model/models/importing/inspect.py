"""What a model's file is, by its content, and whether it may be opened: nothing in it is ever run to find out."""

import json
import re
import zipfile
from pathlib import Path

from cifar_model.errors import ModelError
from cifar_model.models.layout import MODEL_FILE

KERAS, HDF5, WEIGHTS, SAVED_MODEL, LITERT, ONNX, FOLDER = (
    "keras", "h5", "weights", "saved-model", "litert", "onnx", "folder"
)  # fmt: skip
TITLES = {
    KERAS: "Keras file",
    HDF5: "HDF5 file of Keras",
    WEIGHTS: "file of weights",
    SAVED_MODEL: "SavedModel of TensorFlow",
    LITERT: "LiteRT (TensorFlow Lite) file",
    ONNX: "ONNX file",
    FOLDER: "model folder of this lab",
}
WHAT_CAN = (
    "a .keras or .h5 file of Keras, a file of weights of this lab's networks, a SavedModel folder, "
    "a .tflite or an .onnx file"
)
LARGEST_BYTES = 1_000_000_000  # unpacked

_HDF5_HEAD, _ZIP_HEAD = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_ELSEWHERE = {
    ".pt": "PyTorch", ".pth": "PyTorch", ".safetensors": "PyTorch", ".ckpt": "TensorFlow or PyTorch",
    ".joblib": "Python", ".pkl": "Python", ".pickle": "Python",
}  # fmt: skip
# Layers that run code of the file, or that name files outside it.
_CODE = {"Lambda", "__lambda__"}
_OUTSIDE = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# Where Keras keeps layers and what belongs to them; its tools that fetch or open files lie elsewhere.
_KERAS_PARTS = re.compile(
    r"(builtins|(tensorflow\.|tf_)?keras(\.(src|api|_tf_keras|keras|python))*"
    r"(\.(layers|models|engine|initializers|regularizers|constraints|activations|optimizers|losses|metrics|ops|"
    r"dtype_policies|mixed_precision|random)(\.\w+)*)?)"
)


def kind_of(path: Path) -> str:
    """Which of the formats a file or folder is; ModelError with what is allowed where it is none."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return SAVED_MODEL
        if (path / MODEL_FILE).is_file():
            return FOLDER
        inside = sorted(entry.name for entry in path.iterdir())[:6]
        hint = next((f" Its folder {name} is one: name that." for name in inside
                     if (path / name / "saved_model.pb").is_file()), "")  # fmt: skip
        raise ModelError(
            f"{path} is no model: it holds {', '.join(inside) or 'nothing'}; a SavedModel has a saved_model.pb.{hint}"
        )
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist. Name {WHAT_CAN}.") from None
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}.") from None
    if not head:
        raise ModelError(f"{path.name} is an empty file: copy it again.")
    if head.startswith(_HDF5_HEAD):
        return _kind_of_hdf5(path)
    if head[4:8] == b"TFL3":
        return LITERT
    if head.startswith(_ZIP_HEAD) and path.suffix.lower() not in _ELSEWHERE:
        return KERAS
    if path.suffix.lower() == ".onnx":
        return ONNX
    if path.suffix.lower() in _ELSEWHERE:
        made_by = _ELSEWHERE[path.suffix.lower()]
        raise ModelError(
            f"{path.name} is a file of {made_by}, which can hold code and no network by itself. Export the network to "
            "ONNX there (torch.onnx.export), and bring in that."
        )
    if path.suffix.lower() in (".keras", ".h5", ".hdf5", ".tflite"):
        raise ModelError(f"{path.name} is no {path.suffix} file inside: it is damaged, or something else. {_again()}")
    raise ModelError(f"{path.name} is no model that can be brought in. What can: {WHAT_CAN}.")


def _again() -> str:
    return "Copy or save it again."


def _kind_of_hdf5(path: Path) -> str:
    import h5py

    try:
        with h5py.File(path) as file:
            _check_hdf5(file, path.name)
            return HDF5 if "model_config" in file.attrs else WEIGHTS
    except OSError as error:
        raise _cut_short(path, error) from None


def _cut_short(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path.name} is cut short or damaged ({type(error).__name__}). {_again()}")


def _check_hdf5(file, name: str) -> None:
    """HDF5 can point to other files on the machine that reads it; one that does is refused."""
    import h5py

    def check(group) -> None:
        for key in group:
            if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
                raise ModelError(f"{name} points to another file ({key}), which isn't allowed.")
            item = group[key]
            if isinstance(item, h5py.Group):
                check(item)
            elif item.external or item.is_virtual:
                raise ModelError(f"{name} keeps numbers in another file ({key}), which isn't allowed.")
            elif item.size * item.dtype.itemsize > LARGEST_BYTES:
                raise ModelError(f"{name} holds more than {LARGEST_BYTES / 1e9:.0f} GB of numbers ({key}).")

    check(file)


def check_keras_file(path: Path) -> None:
    """Refuse a ``.keras`` file that is broken, too large unpacked, or whose configuration names code.

    Raises ModelError. Nothing of the file is loaded.
    """
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
                raise ModelError(f"{path.name} unpacks to more than {LARGEST_BYTES / 1e9:.0f} GB.")
            names = archive.namelist()
            if "config.json" not in names:
                raise ModelError(f"{path.name} is a zip file without a model of Keras (no config.json). {_again()}")
            config = json.loads(archive.read("config.json"))
            for name in names:
                if name.endswith(".h5"):
                    with archive.open(name) as inner, h5py.File(inner) as file:
                        _check_hdf5(file, path.name)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise _cut_short(path, error) from None
    if isinstance(config, dict):
        config = {key: value for key, value in config.items() if key != "compile_config"}  # a loss isn't loaded
    check_config(config, path.name)


def check_hdf5_config(path: Path) -> None:
    """The same for an ``.h5`` file with a model in it."""
    import h5py

    try:
        with h5py.File(path) as file:
            config = json.loads(file.attrs["model_config"])
    except (OSError, ValueError, KeyError) as error:
        raise _cut_short(path, error) from None
    check_config(config, path.name)


def check_config(config, name: str) -> None:
    """ModelError where a model's configuration holds a Lambda layer, or anything that isn't Keras's own."""
    try:
        _check_config(config, name)
    except RecursionError:
        raise ModelError(f"{name} holds layers in layers without end.") from None


def _check_config(config, name: str) -> None:
    if isinstance(config, list):
        for value in config:
            _check_config(value, name)
    if not isinstance(config, dict):
        return
    kind = config.get("class_name")
    if isinstance(kind, str):
        if kind in _CODE:
            raise ModelError(
                f"{name} holds a Lambda layer: code inside the file, which is never run here. Write that step with "
                "Keras's own layers (say Rescaling), and save the model again."
            )
        if kind in _OUTSIDE:
            raise ModelError(
                f"{name} holds a {kind}, whose network lies in another file. Bring in that one (a SavedModel folder)."
            )
        module, registered = config.get("module"), config.get("registered_name")
        own = (module is None or (isinstance(module, str) and _KERAS_PARTS.fullmatch(module))) and not (
            isinstance(registered, str) and ">" in registered and not registered.startswith("Keras")
        )
        if not own:
            raise ModelError(
                f"{name} holds {kind}, which is not one of Keras's own layers but somebody's code "
                f"({registered or module}); it isn't in the file. Save the model as a SavedModel or ONNX file."
            )
    for value in config.values():
        _check_config(value, name)
