"""CIFAR-10 lab: train small image classifiers, ask them about pictures, and learn how far to trust them.

The names below are imported when they are first used, so that ``import cifar_model`` stays light.
"""

import importlib

__version__ = "0.1.0"

# Public name: the module that holds it.
_HOME = {
    "CLASS_NAMES": "classes",
    "Classifier": "answering.classifier",
    "LabError": "errors",
    "Settings": "training.settings",
    "blend": "pictures.mix",
    "decode_image": "pictures.decode",
    "fit_image": "pictures.fit",
    "list_models": "models.folder",
    "load_cifar10": "data.cache",
    "load_image": "pictures.fit",
    "sweep": "pictures.mix",
    "train": "training.train",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cifar_model' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cifar_model.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *_HOME])
