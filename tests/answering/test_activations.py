"""Filters and maps against their definition in NumPy."""

import numpy as np
import pytest
from helpers import make_pictures

from cifar_model.answering.activations import Maps, feature_maps, filter_pictures, first_filters, map_pictures
from cifar_model.errors import ModelError, SettingsError
from cifar_model.networks.backend import import_keras
from cifar_model.networks.build import PIXEL_MEAN, PIXEL_VARIANCE, build_network
from cifar_model.networks.views import mirror_average

PICTURE = make_pictures(1, seed=3)[0][0]


@pytest.fixture(scope="module")
def seed_cnn():
    import_keras().utils.set_random_seed(5)
    return build_network("seed-cnn")


def test_first_maps_are_the_picture_convolved_with_the_first_filters(seed_cnn):
    name, filters = first_filters(seed_cnn)
    assert (name, filters.shape) == ("conv1", (32, 3, 3, 3))
    maps = feature_maps(seed_cnn, PICTURE)
    assert [m.layer for m in maps] == ["conv1", "conv2", "conv3"]
    scaled = (PICTURE - np.array(PIXEL_MEAN)) / np.sqrt(PIXEL_VARIANCE)
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (3, 3), axis=(0, 1))  # (30, 30, 3, 3, 3): channel, y, x
    expected = np.maximum(np.einsum("ijcyx,kyxc->ijk", windows, filters), 0)
    np.testing.assert_allclose(maps[0].values, expected, atol=2e-3)


def test_lab_net_shows_each_rectified_layer_also_within_a_mirror_average():
    network = build_network("lab-net")
    maps = feature_maps(mirror_average(network), PICTURE)
    assert len(maps) == 10 and maps[0].values.shape == (32, 32, 24)
    assert all((m.values >= 0).all() for m in maps)
    assert first_filters(mirror_average(network))[1].shape == (24, 2, 2, 3)


def test_filters_as_pictures():
    filters = np.zeros((2, 3, 3, 3), np.float32)
    filters[0, 0, 0] = [0.5, -0.5, 0.25]
    pictures = filter_pictures(filters)
    assert pictures.dtype == np.uint8 and (pictures[1] == 128).all()  # nothing is grey
    assert pictures[0, 0, 0].tolist() == [255, 0, 191]


def test_the_strongest_maps_come_first_from_dark_to_yellow():
    values = np.zeros((4, 4, 20), np.float32)
    values[1, 2, 7], values[0, 0, 3] = 2.0, 1.0
    pictures, channels = map_pictures(Maps("layer", values), most=5)
    assert pictures.shape == (5, 4, 4, 3) and channels[:2].tolist() == [7, 3]
    assert pictures[0, 1, 2].tolist() == [253, 231, 37] and pictures[0, 0, 0].tolist() == [68, 1, 84]
    assert (map_pictures(Maps("dead", values * 0))[0] == [68, 1, 84]).all()


def test_what_has_no_maps_says_so(seed_cnn):
    with pytest.raises(SettingsError, match=r"Received: float64 \(32, 32, 3\)"):
        feature_maps(seed_cnn, PICTURE.astype(float))
    keras = import_keras()
    pixels = keras.Input((32, 32, 3))
    flat = keras.Model(pixels, keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(pixels)))
    for ask in (first_filters, lambda network: feature_maps(network, PICTURE)):
        with pytest.raises(ModelError, match="has no"):
            ask(flat)
