"""Mixes against closed forms and SciPy; sweeps against what a person would read off the curve."""

import numpy as np
import pytest

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ImageError, SettingsError
from cifar_model.pictures.mix import MODES, SYMMETRIC, blend, sweep
from cifar_model.pictures.winners import describe_changes, describe_gaps, describe_sweep, winner_changes

CAT, DOG, FROG = map(CLASS_NAMES.index, ("cat", "dog", "frog"))


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, 256, (2, 32, 32, 3), np.uint8))


def flat(value):
    return np.full((32, 32, 3), value, np.uint8)


@pytest.mark.parametrize("mode", MODES)
def test_the_ends_are_the_pictures_themselves(mode, pair):
    a, b = pair
    for result, picture in ((blend(a, b, 1, mode=mode), a), (blend(a, b, 0, mode=mode), b)):
        np.testing.assert_array_equal(result, picture)
        assert result.dtype == np.uint8 and result.base is not picture
    for ratio in (0.0, 0.3, 1.0):
        np.testing.assert_array_equal(blend(a, a, ratio, mode=mode), a)


@pytest.mark.parametrize("mode", MODES)
def test_a_sweep_is_its_single_blends(mode, pair):
    frames = sweep(*pair, mode=mode)
    assert frames.shape == (101, 32, 32, 3) and frames.dtype == np.uint8
    for percent in (0, 1, 29, 40, 50, 57, 99, 100):
        np.testing.assert_array_equal(frames[percent], blend(*pair, percent / 100, mode=mode))
    assert sweep(*pair, mode=mode, steps=3).shape[0] == 3


@pytest.mark.parametrize("mode", MODES)
def test_no_step_of_a_sweep_jumps(mode):
    frames = sweep(flat(250), flat(10), mode=mode).astype(int)
    means = frames.mean(axis=(1, 2, 3))
    assert (np.diff(means) >= 0).all() and np.diff(means).max() <= 45  # of 240; frequencies is the steepest


@pytest.mark.parametrize("mode", MODES)
def test_which_mixes_are_the_same_from_both_sides(mode, pair):
    a, b = pair
    same = (sweep(a, b, mode=mode) == sweep(b, a, mode=mode)[::-1]).all()
    assert same == (mode in SYMMETRIC)


def test_average_is_the_weighted_mean(pair):
    a, b = pair
    np.testing.assert_allclose(blend(a, b, 0.4), 0.4 * a + 0.6 * b, atol=0.5001)


def test_linear_light_in_closed_form():
    # Half white, half black light is sRGB 188; a quarter is 137 (IEC 61966-2-1).
    assert (blend(flat(255), flat(0), 0.5, mode="linear") == 188).all()
    assert (blend(flat(255), flat(0), 0.25, mode="linear") == 137).all()
    # In the straight part near black the mean of stored values is the mean of light.
    assert (blend(flat(8), flat(2), 0.5, mode="linear") == 5).all()


def test_every_stored_value_survives_the_way_to_light_and_back():
    ramp = np.resize(np.arange(256, dtype=np.uint8), (32, 32, 3))
    np.testing.assert_array_equal(blend(ramp, ramp, 0.37, mode="linear"), ramp)


def test_halves_give_a_the_left_share():
    for ratio, columns in ((0.25, 8), (0.5, 16), (0.4, 13), (0.01, 0)):
        result = blend(flat(9), flat(1), ratio, mode="halves")
        assert (result[:, :columns] == 9).all() and (result[:, columns:] == 1).all()


def test_checkerboard_shows_the_share_and_grows_cell_by_cell():
    frames = sweep(flat(1), flat(0), mode="checkerboard", steps=65)
    assert frames.sum(axis=(1, 2, 3)).tolist() == [i * 16 * 3 for i in range(65)]
    assert (np.diff(frames.astype(int), axis=0) >= 0).all()
    # Half-way it is a chessboard.
    y, x = np.mgrid[0:32, 0:32] // 4
    np.testing.assert_array_equal(frames[32][..., 0], (x + y + 1) % 2)


def test_frequencies_take_shapes_from_a_and_detail_from_b():
    y, x = np.mgrid[0:32, 0:32]
    shapes = np.repeat((np.rint(127 + 80 * np.cos(np.pi * (2 * x + 1) / 64)))[..., None], 3, 2).astype(np.uint8)
    detail = np.repeat((127 + 80 * (-1) ** (x + y))[..., None], 3, 2).astype(np.uint8)
    half = blend(shapes, detail, 0.5, mode="frequencies").astype(float)
    expected = np.clip(shapes.astype(float) + (detail - 127.0), 0, 255)
    assert np.abs(half - expected).mean() < 6
    # The other way round neither is left: coarse shapes of the fine picture, fine detail of the coarse one.
    other = blend(detail, shapes, 0.5, mode="frequencies").astype(float)
    assert other.std() < 12


def test_frequencies_equal_a_filter_by_matrix():
    # Oracle: scipy's orthonormal DCT, the filter as the docstring states it.
    fft = pytest.importorskip("scipy.fft", reason="SciPy comes with scikit-learn, a development dependency")
    a, b = np.random.default_rng(1).integers(60, 200, (2, 32, 32, 3), np.uint8)
    k = np.arange(32)
    frequency = np.sqrt((k[:, None] ** 2 + k**2 + 0.25) / 4)[..., None]
    gain = 0.5 ** ((frequency / (4 * 0.3 / 0.7)) ** 2)
    spectra = [fft.dctn(picture.astype(float), axes=(0, 1), norm="ortho") for picture in (a, b)]
    mixed = fft.idctn(gain * spectra[0] + (1 - gain) * spectra[1], axes=(0, 1), norm="ortho")
    np.testing.assert_array_equal(blend(a, b, 0.3, mode="frequencies"), np.clip(np.rint(mixed), 0, 255))


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan"), float("inf"), "much", None, 40])
def test_a_ratio_outside_0_to_1_is_refused(ratio, pair):
    with pytest.raises(SettingsError, match="from 0 to 1. Received"):
        blend(*pair, ratio)


def test_other_settings_and_pictures_are_refused(pair):
    a, b = pair
    with pytest.raises(SettingsError, match="average, linear"):
        blend(a, b, 0.5, mode="blur")
    for steps in (1, 0, -5, 10_002, 2.5, "many"):
        with pytest.raises(SettingsError, match="steps"):
            sweep(a, b, steps=steps)
    for wrong in (a[:16], a[..., 0], a.astype(float), a[None], a.tolist(), None):
        with pytest.raises(ImageError, match="uint8 array of shape"):
            blend(a, wrong, 0.5)


def along(*stretches):
    """Probabilities (101, 10): per stretch (number of steps, {class: probability}), the rest spread."""
    rows = []
    for steps, beliefs in stretches:
        row = np.full(10, (1 - sum(beliefs.values())) / (10 - len(beliefs)))
        row[list(beliefs)] = list(beliefs.values())
        rows += [row] * steps
    return np.array(rows, np.float32)


def test_winner_changes_list_third_classes_too():
    p = along((43, {DOG: 0.9}), (18, {FROG: 0.5}), (40, {CAT: 0.8}))
    assert winner_changes(p) == [(0.43, DOG, FROG), (0.61, FROG, CAT)]
    assert winner_changes(p)[0].after == FROG
    assert describe_changes(p) == "dog → frog at 43 %, frog → cat at 61 %."
    assert winner_changes(along((101, {CAT: 0.5}))) == []
    assert describe_changes(along((101, {CAT: 0.5}))) == "cat leads at every ratio."


def test_the_gap_between_ratio_and_belief_in_words():
    p = along((30, {DOG: 0.9}), (71, {CAT: 0.83, DOG: 0.12}))
    text = describe_sweep(p, 0.4, "cat", "dog")
    assert text == (
        "dog → cat at 30 %. 40 % cat + 60 % dog in; 83 % cat, 12 % dog out: softmax is not a mixture estimate."
    )
    text = describe_sweep(p, 0.4, "cat", "dog", learned_blends=True)
    assert text.endswith("83 % cat, 12 % dog out: trained on blends, it aims at the shares.")
    # A picture not named after a class counts as what it is taken for, unmixed.
    text = describe_sweep(p, 0.4, "my tabby.jpg", "dog")
    assert "40 % my tabby.jpg + 60 % dog in; 83 % cat, 12 % dog out" in text
    text = describe_sweep(p, 0.4, "cat", "cat")
    assert "83 % cat out: both pictures mean the same class." in text
    gaps = describe_gaps(p, "my tabby.jpg", "dog")
    for step, gap in enumerate(gaps):
        assert describe_sweep(p, step / 100, "my tabby.jpg", "dog") == f"{describe_changes(p)} {gap}"
    with pytest.raises(SettingsError):
        describe_sweep(p, 2, "cat", "dog")
    with pytest.raises(ValueError, match=r"\(steps ≥ 2, 10\)"):
        winner_changes(p[:, :9])
