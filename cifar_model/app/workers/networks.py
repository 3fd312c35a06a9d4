"""A look into a network: first filters, activations."""

import functools
from pathlib import Path

import numpy as np

from cifar_model.answering.activations import feature_maps, filter_pictures, first_filters, map_pictures
from cifar_model.models.layout import MODEL_FILE
from cifar_model.models.network import load_network
from cifar_model.networks.backend import import_keras


def filters(model: Path) -> tuple[str, np.ndarray]:
    """The first convolution's name, and its filters as pictures uint8 (n, h, w, 3)."""
    layer, found = first_filters(_network(model))
    return layer, filter_pictures(found)


def activations(model: Path, pixels: np.ndarray) -> list[tuple]:
    """Of each layer: its name, the shape of its maps, its strongest as pictures uint8 (k, h, w, 3), their numbers."""
    maps = feature_maps(_network(model), pixels)
    return [(layer.layer, layer.values.shape, *map_pictures(layer)) for layer in maps]


@functools.lru_cache(maxsize=1)
def _loaded(model: Path, stamp: int | None):
    import_keras()
    return load_network(model)


def _network(model: Path):
    file = model / MODEL_FILE if model.is_dir() else model
    return _loaded(model, file.stat().st_mtime_ns if file.is_file() else None)
