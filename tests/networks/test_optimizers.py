"""Muon for convolutions against NumPy's SVD and Keras's own Adam."""

import keras
import numpy as np
import pytest

from cifar_model.errors import SettingsError
from cifar_model.networks.choices import OPTIMIZERS
from cifar_model.networks.optimizers import ConvMuon, build_optimizer


def test_a_kernels_step_is_nearly_orthogonal():
    rng = np.random.default_rng(0)
    kernel = keras.Variable(np.zeros((3, 3, 16, 24), np.float32))
    gradient = rng.normal(size=(3, 3, 16, 24)).astype(np.float32)
    ConvMuon(1.0, weight_decay=None, rms_rate=None).apply([keras.ops.convert_to_tensor(gradient)], [kernel])
    step = -np.asarray(kernel).reshape(-1, 24)
    u, _, vt = np.linalg.svd(gradient.reshape(-1, 24), full_matrices=False)
    values = np.linalg.svd(step, compute_uv=False)
    # Newton–Schulz stops at singular values of about 0.7 to 1.2, along the gradient's own directions.
    assert values.min() > 0.6 and values.max() < 1.3
    cosine = np.sum(step * (u @ vt)) / np.linalg.norm(step) / np.linalg.norm(u @ vt)
    assert cosine > 0.97


def test_everything_else_moves_as_with_adam():
    gradients = [np.random.default_rng(i).normal(size=7).astype(np.float32) for i in range(3)]
    ours, theirs = keras.Variable(np.ones(7, np.float32)), keras.Variable(np.ones(7, np.float32))
    muon = build_optimizer("muon", 0.12)
    adam = keras.optimizers.Adam(0.12 / 6, beta_1=0.85, beta_2=0.95)
    for gradient in gradients:
        muon.apply([keras.ops.convert_to_tensor(gradient)], [ours])
        adam.apply([keras.ops.convert_to_tensor(gradient)], [theirs])
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_listed_optimizer_builds(name):
    assert float(build_optimizer(name, 0.01).learning_rate) == pytest.approx(0.01)


def test_unknown_optimizer():
    with pytest.raises(SettingsError, match="adamw"):
        build_optimizer("lion", 0.1)
