"""Import Keras and its backend without the lines that TensorFlow writes to the terminal as it starts."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cifar_model.errors import SettingsError


def import_keras():
    """Import Keras with the backend that KERAS_BACKEND names (default TensorFlow), and return it.

    TensorFlow's C++ part reports missing CUDA drivers and processor features on stderr before any setting of
    its own can silence it; an import that fails shows all that was written. Raises SettingsError where KERAS_BACKEND
    names a backend that can't be imported.
    """
    if "keras" in sys.modules and "tensorflow" in sys.modules:
        return sys.modules["keras"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_chatter():
        keras = _import_with_backend()
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Looking for a GPU is what makes it complain. By default it would take all of a GPU's memory.
            for gpu in tf.config.list_physical_devices("GPU"):
                with suppress(RuntimeError):  # somebody has used the GPU already
                    tf.config.experimental.set_memory_growth(gpu, True)
    return keras


def _import_with_backend():
    try:
        import keras
    except (ImportError, ValueError) as error:
        if on_tensorflow():
            raise
        raise _no_backend(error) from error
    return keras


def check_backend() -> None:
    """SettingsError where KERAS_BACKEND names a backend that is not here; imports nothing."""
    chosen = _chosen()
    if not chosen.isidentifier() or importlib.util.find_spec(chosen) is None:
        raise _no_backend("not installed")


def _no_backend(reason: object) -> SettingsError:
    return SettingsError(
        f"KERAS_BACKEND is {_chosen()!r}, which can't be imported here ({reason}). Remove the "
        "setting, for TensorFlow is what this project is tested with, or install that backend."
    )


def on_tensorflow() -> bool:
    """Whether Keras is to run on TensorFlow, as far as the environment tells without importing it."""
    return _chosen() == "tensorflow"


def _chosen() -> str:
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keep back what is written to the process's stderr; show it after all if the block raises."""
    try:
        terminal = os.dup(2)
    except OSError:  # no stderr at all, as under pythonw
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except SettingsError:  # says it all
            raise
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
