"""Layers that train faster, against Keras's own."""

import numpy as np
import pytest

from cifar_model.networks.backend import import_keras
from cifar_model.networks.build import build_network, set_whitening

keras = import_keras()
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's layers")


def _step(layer, x, towards):
    """What a training step takes from a layer: its outputs, its gradients (weights first), its moving averages."""
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=True)
        loss = tf.reduce_sum(outputs * towards)
    gradients = tape.gradient(loss, [v.value for v in layer.trainable_variables] + [x])
    return [array.numpy() for array in (outputs, *gradients, *(v.value for v in layer.non_trainable_variables))]


@pytest.mark.training
@pytest.mark.parametrize("name", ["seed-cnn", "lab-net", "custom"])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_step_of_every_layer_is_as_keras_does_it(name, momentum):
    # Layer by layer: through the whole network rounding alone can send a gradient to another pixel of a pooling window.
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    images = rng.integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    fast, plain = (build_network(name, fast=quick) for quick in (True, False))
    set_whitening(fast, images)
    plain.set_weights(fast.get_weights())
    np.testing.assert_array_equal(fast.predict_on_batch(images), plain.predict_on_batch(images))
    compared = 0
    for quick, slow in zip(fast.layers, plain.layers, strict=True):
        if type(quick) is type(slow):
            continue
        if isinstance(quick, keras.layers.BatchNormalization):
            quick.momentum = slow.momentum = momentum
        x = rng.normal(1.0, 2.0, (8, *quick.input.shape[1:])).astype("float32")
        towards = rng.normal(size=(8, *quick.output.shape[1:])).astype("float32")
        for ours, theirs in zip(_step(quick, x, towards), _step(slow, x, towards), strict=True):
            assert np.linalg.norm(ours - theirs) <= 1e-4 * np.linalg.norm(theirs) + 1e-4
        compared += 1
    assert compared >= 3
