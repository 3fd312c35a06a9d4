"""The networks against Keras's own layers and closed forms."""

import numpy as np
import pytest

from cifar_model.errors import SettingsError
from cifar_model.networks.build import build_network, set_whitening
from cifar_model.networks.size import count_parameters, layer_table, multiply_adds
from cifar_model.networks.views import mirror_average, single_view

SHAPES = [
    ("seed-cnn", {}),
    ("lab-net", {}),
    ("custom", {}),
    ("custom", {"filters": (4,), "dense": 8, "dropout": 0.0}),
    ("custom", {"filters": (8, 16, 32, 64), "dense": 100}),
]


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("name, shape", SHAPES)
def test_table_matches_the_built_network(name, shape, pictures):
    network = build_network(name, **shape)
    assert count_parameters(name, **shape) == network.count_params()
    for row in layer_table(name, **shape):
        layer = network.get_layer(row["layer"])
        assert layer.output.shape[1:] == row["output"], row
        if row["layer"] == "scale":  # Keras counts its fixed mean and variance as three weights, or as none
            assert row["parameters"] == 0
        else:
            assert layer.count_params() == row["parameters"], row
    answers = network.predict_on_batch(pictures)
    assert answers.dtype == np.float32 and answers.shape == (5, 10)
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)


def test_seed_cnn_is_the_origins_network_layer_for_layer():
    network = build_network("seed-cnn")
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == [
        "InputLayer", "Normalization",
        "Conv2D", "BatchNormalization", "MaxPooling2D", "Dropout",
        "Conv2D", "BatchNormalization", "MaxPooling2D", "Dropout",
        "Conv2D", "BatchNormalization", "Flatten", "Dense", "Dropout", "Dense",
    ]  # fmt: skip
    convolutions = [layer for layer in network.layers if type(layer).__name__ == "Conv2D"]
    assert [(c.filters, c.kernel_size, c.padding) for c in convolutions] == [
        (32, (3, 3), "valid"), (64, (3, 3), "valid"), (64, (3, 3), "valid"),
    ]  # fmt: skip
    assert all(layer.rate == 0.2 for layer in network.layers if type(layer).__name__ == "Dropout")
    assert network.count_params() == 123_210


def test_multiply_adds_of_seed_cnn_by_hand():
    by_hand = 30 * 30 * 9 * 3 * 32 + 13 * 13 * 9 * 32 * 64 + 4 * 4 * 9 * 64 * 64 + 1024 * 64 + 64 + 64 * 10 + 10
    assert multiply_adds("seed-cnn") == by_hand


def test_mirror_average_is_the_mean_of_both_views(pictures):
    network = build_network("lab-net")
    averaged = mirror_average(network)
    expected = (network.predict_on_batch(pictures) + network.predict_on_batch(pictures[:, :, ::-1])) / 2
    np.testing.assert_allclose(averaged.predict_on_batch(pictures), expected, atol=1e-6)
    assert single_view(averaged) is network
    assert single_view(network) is network


def test_whitening_makes_patches_white(pictures):
    network = build_network("lab-net")
    set_whitening(network, pictures)
    scaled = network.get_layer("scale")(pictures)
    layer = network.get_layer("whitening")
    # 'same' padding of an even kernel pads below and right: leave that border out.
    white = np.asarray(layer(scaled))[:, :-1, :-1].reshape(-1, 24)
    np.testing.assert_allclose(white[:, :12], -white[:, 12:], atol=1e-4)
    np.testing.assert_allclose(np.cov(white[:, :12], rowvar=False), np.eye(12), atol=0.01)


def test_unknown_network():
    with pytest.raises(SettingsError, match="seed-cnn"):
        build_network("vgg")
    with pytest.raises(SettingsError, match="seed-cnn"):
        layer_table("vgg")
