"""Layers that train faster, against Keras's own."""

import numpy as np
import pytest

from cifar_model.networks.backend import import_keras
from cifar_model.networks.build import build_network, set_whitening

keras = import_keras()
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's layers")


@pytest.mark.training
@pytest.mark.parametrize("name", ["seed-cnn", "lab-net", "custom"])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_step_changes_all_weights_as_keras_does(name, momentum):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    y = np.eye(10, dtype="float32")[rng.integers(0, 10, 8)]
    networks = [build_network(name, fast=fast) for fast in (True, False)]
    set_whitening(networks[0], x)
    networks[1].set_weights(networks[0].get_weights())
    for network in networks:
        for layer in network.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
            elif isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = momentum
        network.compile(keras.optimizers.SGD(0.05), "categorical_crossentropy", jit_compile=False)
    before = networks[1].get_weights()
    np.testing.assert_array_equal(*(network.predict_on_batch(x) for network in networks))
    for network in networks:
        network.train_on_batch(x, y)
    for start, fast, plain in zip(before, *(network.get_weights() for network in networks), strict=True):
        # As a whole: where two pixels of a pooling window are equal but for rounding, single entries differ.
        assert np.linalg.norm(fast - plain) <= 0.02 * np.linalg.norm(plain - start) + 1e-5
