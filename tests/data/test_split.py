"""Which picture is which: the same split whatever the order."""

import hashlib

import numpy as np
import pytest

from cifar_model.data.split import fingerprints, split_by_content


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), np.uint8)


def names(images, indexes):
    return set(fingerprints(images[indexes]).tolist())


def test_fingerprints_are_keyed_hashes_of_the_pixels(images):
    whole = hashlib.blake2b(images[7].tobytes(), digest_size=8, key=b"cifar-lab held-out part, version 1").digest()
    assert fingerprints(images)[7] == int.from_bytes(whole, "big")
    assert fingerprints(images[:, :, ::-1])[7] != fingerprints(images)[7]  # a view with strides, another picture


def test_every_order_gives_the_same_split(images):
    there = split_by_content(images, 0.1, 0.25)
    moved = images[np.random.default_rng(1).permutation(len(images))]
    here = split_by_content(moved, 0.1, 0.25)
    for part in ("train", "selection", "untouched"):
        # In the same order as well, so that a training repeats to the bit.
        np.testing.assert_array_equal(moved[getattr(here, part)], images[getattr(there, part)])
    assert there.boundary == here.boundary


def test_parts_are_disjoint_and_of_the_promised_sizes(images):
    split, thinned = split_by_content(images, 0.1), split_by_content(images, 0.1, 0.25)
    assert (len(split.train), len(split.selection), len(split.untouched)) == (900, 25, 75)
    assert len(thinned.train) == 225 and set(thinned.train) <= set(split.train)
    assert len({*split.train, *split.held_out}) == 1000
    np.testing.assert_array_equal(split.held_out, thinned.held_out)


def test_a_smaller_share_lies_inside_a_larger_one(images):
    small, large = split_by_content(images, 0.05), split_by_content(images, 0.2)
    for part in ("selection", "untouched"):
        assert names(images, getattr(small, part)) < names(images, getattr(large, part))


def test_the_boundary_tells_held_out_images_from_the_others(images):
    split = split_by_content(images, 0.1)
    assert (fingerprints(images[split.held_out]) <= split.boundary).all()
    assert (fingerprints(images[split.train]) > split.boundary).all()


def test_too_few_images():
    with pytest.raises(ValueError, match="at least three"):
        split_by_content(np.zeros((2, 32, 32, 3), np.uint8), 0.5)
