"""CIFAR-10 lab: train small image classifiers, ask them about pictures, and learn how far to trust them.

The names below are imported when they are first used, so that ``import cifar_model`` stays light.
"""

import importlib

__version__ = "0.1.0"

# Public name: the module that holds it.
_HOME = {
    "CLASS_NAMES": "classes",
    "Classifier": "classifier",
    "LabError": "errors",
    "Settings": "recipes",
    "blend": "blending",
    "decode_image": "images",
    "fit_image": "images",
    "list_models": "models",
    "load_cifar10": "dataset",
    "load_image": "images",
    "sweep": "blending",
    "train": "training",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cifar_model' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cifar_model.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *_HOME])
