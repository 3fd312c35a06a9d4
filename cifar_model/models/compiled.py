"""A model's compiled form: its network as a LiteRT file, which answers without TensorFlow.

It lies beside the model, where a run writes it as it ends, or in the cache, and is never trusted blindly: behind the
network stand the version of what wrote it and two digests, of the ``.keras`` file that it was made of and of the
network itself. Whatever reads LiteRT files passes over what stands behind the network; the page Live has browsers
answer from the very same file.
"""

import hashlib
import os
import shutil
import struct
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import LabError, ModelError
from cifar_model.models.exporting.formats import write_litert
from cifar_model.models.layout import COMPILED_FILE, MODEL_FILE
from cifar_model.models.network import load_network
from cifar_model.networks.backend import import_keras, on_tensorflow
from cifar_model.networks.litert import LiteRTNetwork, litert_available
from cifar_model.networks.portable import rebuilt
from cifar_model.networks.views import with_features
from cifar_model.storage import assets_dir, caches_dir, keep_newest, replacing

if TYPE_CHECKING:
    import keras

VERSION = 1  # raise it when the same network would give another file
KEPT = 24  # files in the cache, 17 MB each for lab-net; those not used for longest go first
LARGEST_DIFFERENCE = 1e-5  # of a probability, from what Keras answers

_MARK = b"cifar-lab compiled"
_TAIL = struct.Struct(f"<{len(_MARK)}sI32s32s")  # mark, version, digest of the .keras file, digest of the network


def read_compiled(model: Path) -> bytes | None:
    """The compiled form of a model directory or ``.keras`` file, for `litert.LiteRTNetwork`.

    None where there is none that was made, by this version, of the very file that the model has now.
    """
    if not litert_available():
        return None
    try:
        digest = _digest(model)
    except OSError:
        return None
    if model.is_dir() and (network := _checked(model / COMPILED_FILE, digest)) is not None:
        return network
    file = _cached(digest)
    if (network := _checked(file, digest)) is not None:
        with suppress(OSError):  # a disk that can't be written to
            os.utime(file)  # the cache keeps what is used
    return network


def compiled_file(model: Path) -> Path | None:
    """The compiled form of a model as browsers fetch it: in the cache, its name tells its content; None without one.

    What lies beside the model is copied there first. Raises LabError where the model can't be read, or the cache
    can't be written to.
    """
    try:
        digest = _digest(model)
    except OSError as error:
        raise ModelError(f"{model} can't be read ({error.strerror}).") from None
    file = _cached(digest)
    if file.is_file() and file.stat().st_size > _TAIL.size:
        return file
    if not model.is_dir() or _checked(model / COMPILED_FILE, digest) is None:
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            shutil.copyfile(model / COMPILED_FILE, temporary)
    except OSError as error:
        raise _unwritable(model, error) from None
    keep_newest(file, KEPT)
    return file


def compiled_folder() -> Path:
    """Where `compiled_file` lies."""
    return caches_dir() / "compiled"


def can_compile() -> bool:
    """Whether models can be compiled here at all: LiteRT is installed, and Keras runs on TensorFlow."""
    return litert_available() and on_tensorflow()


def compile_model(model: Path, network: "keras.Model | None" = None, *, beside: bool = False) -> Path:
    """Make a model's compiled form, unless there is one: in the cache, or `beside` it in its directory.

    Needs TensorFlow, and some seconds. `network` is what the model's file holds, where it has been loaded already.
    Several processes may do this at once: a file appears whole, and each writes the same.

    Raises
    ------
    ModelError
        LiteRT is not installed, the network can't be read or turned into LiteRT, its compiled form answers otherwise
        than Keras, or the model has changed meanwhile.
    LabError
        The file can't be written.
    """
    if not litert_available():
        raise ModelError("A compiled form needs LiteRT, which is not installed here: pip install ai-edge-litert")
    try:
        digest = _digest(model)
        file = model / COMPILED_FILE if beside else _cached(digest)
        if _checked(file, digest) is not None:
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        import_keras()
        full = _with_features(rebuilt(load_network(model) if network is None else network))
        with replacing(file) as temporary:
            write_litert(full, temporary, pictures=1)
            content = temporary.read_bytes()
            _compare(full, content)
            if _digest(model) != digest:
                raise ModelError(f"{model} has changed while it was compiled. Try again.")
            tail = _TAIL.pack(_MARK, VERSION, digest, hashlib.sha256(content).digest())
            temporary.write_bytes(content + tail)
    except OSError as error:
        raise _unwritable(model, error) from error
    if not beside:
        keep_newest(file, KEPT)
    return file


def compile_shipped() -> None:
    """Compile the networks that ship, beside them: for whoever packs the project up. Raises as `compile_model`."""
    for file in sorted((assets_dir() / "models").glob(f"*/{MODEL_FILE}")):
        compile_model(file.parent, beside=True)


def _unwritable(model: Path, error: OSError) -> LabError:
    return LabError(
        f"Can't write a compiled form of {model}: {error.strerror or error}. "
        "Set CIFAR_LAB_CACHE to a folder that can be written to."
    )


def _cached(digest: bytes) -> Path:
    return compiled_folder() / f"{digest.hex()[:32]}-{VERSION}.tflite"


def _digest(model: Path) -> bytes:
    """SHA-256 of the model's file; OSError if it can't be read."""
    file = model / MODEL_FILE if model.is_dir() else model
    status = file.stat()
    return _digest_of(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _digest_of(file: Path, modified: int, size: int) -> bytes:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _checked(file: Path, digest: bytes) -> bytes | None:
    """The network in a compiled file, if all that stands behind it is right."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    network, tail = content[: -_TAIL.size], content[-_TAIL.size :]
    wanted = _TAIL.pack(_MARK, VERSION, digest, hashlib.sha256(network).digest())
    return network if network and tail == wanted else None


def _with_features(network: "keras.Model") -> "keras.Model":
    if any(not getattr(layer, "differentiable", True) for layer in network.layers):
        raise ModelError(f"The network {network.name!r} came as a file of another format, which can't be compiled.")
    try:
        return with_features(network)
    except ModelError:  # somebody's own, without a dense layer at its end
        return network


def _compare(network: "keras.Model", content: bytes) -> None:
    """ModelError where the compiled form answers otherwise than the network, on noise of all strengths."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, np.linspace(5, 120, 15)[:, None, None, None], (15, IMAGE_SIZE, IMAGE_SIZE, 3))
    pictures = np.clip(rng.uniform(0, 255, (15, 1, 1, 3)) + noise, 0, 255).astype(np.float32)
    wanted = network.predict_on_batch(pictures)
    wanted = np.asarray(wanted[0] if isinstance(wanted, list | tuple) else wanted)
    difference = float(np.abs(LiteRTNetwork(content).answer(pictures)[0] - wanted).max())
    if np.isfinite(wanted).all() and not difference <= LARGEST_DIFFERENCE:
        raise ModelError(
            f"The compiled form of {network.name!r} answers otherwise than Keras: a probability differs by "
            f"{difference:.1e}, and {LARGEST_DIFFERENCE:.0e} is allowed."
        )
