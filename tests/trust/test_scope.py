"""The out-of-scope score against plain re-computations, on features made up so that the answer is known."""

import numpy as np
import pytest

from cifar_model.errors import ModelError
from cifar_model.trust.outside import outside_pictures
from cifar_model.trust.scope import _MEANS_WEIGHT, FALSE_ALARMS, Scope, fit_scope, generalised_entropy
from cifar_model.trust.spoil import spoil, vary

WIDTH = 16


def made_up(
    n: int, seed: int, *, spread: float = 0.3, length: float = 4.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features around ten directions, labels, and probabilities that follow the nearest direction."""
    rng = np.random.default_rng(seed)
    directions = np.eye(WIDTH)[:10]
    labels = rng.integers(0, 10, n)
    features = length * (directions[labels] + spread * rng.normal(size=(n, WIDTH)))
    logits = features @ directions.T
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return features.astype(np.float32), labels, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> Scope:
    train, held, spoilt = made_up(1500, 0), made_up(1000, 1), made_up(600, 2, spread=1.2, length=2.0)
    return fit_scope(*train, held[0], held[2], spoilt_features=spoilt[0], spoilt_probabilities=spoilt[2])


def test_threshold_flags_the_promised_share_of_held_out_pictures(fitted):
    features, _, probabilities = made_up(1000, 1)
    flagged = (fitted.score(features, probabilities) < fitted.threshold).mean()
    assert flagged == pytest.approx(FALSE_ALARMS, abs=1e-3)
    features, _, probabilities = made_up(4000, 3)
    assert (fitted.score(features, probabilities) < fitted.threshold).mean() == pytest.approx(FALSE_ALARMS, abs=0.02)


def test_what_looks_like_no_class_scores_lower(fitted):
    inside, outside = made_up(500, 4), made_up(500, 5, spread=1.5, length=2.0)
    assert np.median(fitted.score(outside[0], outside[2])) < fitted.threshold
    assert np.median(fitted.score(inside[0], inside[2])) > fitted.threshold


def test_score_agrees_with_a_plain_loop(fitted):
    features, _, probabilities = made_up(20, 6)
    got = fitted.score(features, probabilities)
    for row, answer, score in zip(features.astype(float), probabilities.astype(float), got, strict=True):
        length = np.sqrt(sum(value * value for value in row))
        unit = [value / length for value in row]
        entropy = sum((p * (1 - p)) ** 0.1 for p in answer)
        inputs = [*unit, np.log(length), entropy, max(answer)]
        total = fitted.bias
        for value, mean, scale, weight in zip(inputs, fitted.mean, fitted.scale, fitted.weights, strict=True):
            total += (value - mean) / scale * weight
        nearest = max(sum(a * b for a, b in zip(unit, centre, strict=True)) for centre in fitted.centres)
        expected = (total - fitted.units[0, 0]) / fitted.units[1, 0] + _MEANS_WEIGHT * (
            nearest - fitted.units[0, 1]
        ) / fitted.units[1, 1]
        assert score == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_centres_are_the_classes_mean_directions(fitted):
    features, labels, _ = made_up(1500, 0)
    for number, centre in enumerate(fitted.centres):
        own = features[labels == number]
        mean = np.mean([row / np.linalg.norm(row) for row in own], axis=0)
        assert centre == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_regression_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is the oracle")
    from cifar_model.trust.scope import _RIDGE, _logistic

    rng = np.random.default_rng(0)
    ones, zeros = rng.normal(0.3, 1, (300, 5)), rng.normal(-0.3, 1, (100, 5))
    got = _logistic(ones, zeros)
    oracle = linear_model.LogisticRegression(C=1 / (400 * _RIDGE), class_weight="balanced", tol=1e-10, max_iter=1000)
    oracle.fit(np.concatenate([ones, zeros]), np.repeat([1, 0], [300, 100]))
    assert got == pytest.approx([*oracle.coef_[0], oracle.intercept_[0]], abs=1e-3)


def test_a_class_without_pictures_and_dead_features_leave_the_score_finite():
    features, labels, probabilities = made_up(300, 7)
    keep = labels != 3
    features, labels, probabilities = features[keep], labels[keep], probabilities[keep]
    features[:, -1] = 0
    spoilt, _, torn = made_up(100, 8, spread=2)
    spoilt[0] = 0
    scope = fit_scope(
        features, labels, probabilities, features, probabilities, spoilt_features=spoilt, spoilt_probabilities=torn
    )
    assert np.isfinite(scope.score(spoilt, torn)).all()


def test_saved_and_loaded_it_scores_the_same_to_the_bit(fitted, tmp_path):
    fitted.save(tmp_path / "scope.npz")
    loaded = Scope.load(tmp_path / "scope.npz")
    features, _, probabilities = made_up(50, 9)
    assert np.array_equal(loaded.score(features, probabilities), fitted.score(features, probabilities))
    assert loaded.threshold == fitted.threshold and loaded.method == fitted.method
    assert (tmp_path / "scope.npz").stat().st_size < 1_500_000


def test_a_broken_file_is_told_from_a_score(fitted, tmp_path):
    path = tmp_path / "scope.npz"
    for content in (b"", b"PK\x03\x04 nothing", np.random.default_rng(0).bytes(5000)):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="out-of-scope score"):
            Scope.load(path)
    with pytest.raises(ModelError, match="missing.npz"):
        Scope.load(tmp_path / "missing.npz")
    np.savez(path, **vars(fitted) | {"weights": fitted.weights[:3]})
    with pytest.raises(ModelError, match="weights"):
        Scope.load(path)
    np.savez(path, **vars(fitted) | {"mean": fitted.mean * np.nan})
    with pytest.raises(ModelError, match="mean"):
        Scope.load(path)


def test_arrays_that_do_not_belong_together_are_refused(fitted):
    features, labels, probabilities = made_up(20, 10)
    with pytest.raises(ValueError, match="belong together"):
        fitted.score(features, probabilities[:5])
    with pytest.raises(ValueError, match="fitted on 16 features"):
        fitted.score(features[:, :4], probabilities)
    spoilt = {"spoilt_features": features, "spoilt_probabilities": probabilities}
    with pytest.raises(ValueError, match="label"):
        fit_scope(features, labels[:3], probabilities, features, probabilities, **spoilt)
    assert fitted.score(features[:0], probabilities[:0]).shape == (0,)


def test_generalised_entropy_orders_answers_by_how_torn_they_are():
    sure, torn, lost = np.eye(10)[0], np.repeat([0.5, 0], [2, 8]), np.full(10, 0.1)
    values = generalised_entropy(np.stack([sure, torn, lost]))
    assert values[0] == 0 and values[0] < values[1] < values[2]
    assert values[2] == pytest.approx(10 * 0.09**0.1)


@pytest.mark.parametrize("make", [outside_pictures, lambda n, seed: spoil(photographs(), n, seed=seed)])
def test_made_pictures_are_repeatable_and_varied(make):
    pictures = make(66, seed=3)
    assert pictures.dtype == np.uint8 and pictures.shape == (66, 32, 32, 3)
    assert np.array_equal(pictures, make(66, seed=3))
    assert not np.array_equal(pictures, make(66, seed=4))
    assert len({picture.tobytes() for picture in pictures}) >= 60  # few ways to shuffle 2×2 parts of five pictures
    assert make(0, seed=0).shape == (0, 32, 32, 3)


def photographs() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)


def test_varying_touches_every_second_picture_alone():
    images = photographs()
    varied = vary(images, seed=1)
    assert varied.dtype == np.uint8 and np.array_equal(varied, vary(images, seed=1))
    assert [np.array_equal(a, b) for a, b in zip(varied, images, strict=True)] == [True, False, True, False, True]
    assert vary(images[:0]).shape == (0, 32, 32, 3)


def test_spoiling_leaves_its_pictures_alone():
    images = photographs()
    images.flags.writeable = False
    before = images.copy()
    spoil(images, 22)
    assert np.array_equal(images, before)


def test_shuffled_parts_are_the_same_pixels():
    images = photographs()[:1]
    shuffled = spoil(images, 5)[2:5]  # 2×2, 4×4, 8×8
    wanted = np.sort(images[0].reshape(-1, 3), axis=0)
    for picture in shuffled:
        assert np.array_equal(np.sort(picture.reshape(-1, 3), axis=0), wanted)
        assert not np.array_equal(picture, images[0])


# The benchmark's own arithmetic


def test_benchmark_auroc_and_fpr95_agree_with_plain_loops():
    from benchmarks.out_of_scope import false_positive_rate, roc_auc_score

    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, 9, 60).astype(float), rng.integers(-3, 6, 40).astype(float)
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in inside for b in outside)
    assert roc_auc_score(inside, outside) == pytest.approx(wins / len(inside) / len(outside))
    inside = np.arange(100.0)
    assert false_positive_rate(inside, np.array([0.0, 4.0, 5.0, 99.0])) == 0.5


def test_benchmark_mahalanobis_agrees_with_a_plain_loop():
    from benchmarks.out_of_scope import Gaussians

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    features = rng.normal(size=(200, 4)) * (1, 2, 3, 0.5) + labels[:, None]
    fitted = Gaussians(features, labels)
    means = [features[labels == number].mean(axis=0) for number in range(3)]
    centred = np.array([row - means[label] for row, label in zip(features, labels, strict=True)])
    covariance = np.cov(centred.T)
    inverse = np.linalg.inv(covariance + 0.01 * np.trace(covariance) / 4 * np.eye(4))
    for row, distance in zip(features[:10], fitted.distance(features[:10]), strict=True):
        expected = min((row - mean) @ inverse @ (row - mean) for mean in means)
        assert distance == pytest.approx(expected)


def test_benchmark_reads_photographs_from_unpacked_packages_and_resource_files(tmp_path):
    import struct

    from benchmarks import _photographs

    names = [("a", True), ("kept.webp", False)]
    strings, at = b"", []
    for name, _ in names:
        at.append(len(strings))
        strings += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    tree = struct.pack(">IHII", 0, 2, 1, 1)  # the root: one child, entry 1
    tree += struct.pack(">IHII", at[0], 2, 1, 2)  # folder "a": one child, entry 2
    tree += struct.pack(">IHHHI", at[1], 0, 0, 0, 0)
    contents = struct.pack(">I", 5) + b"hello"
    head = struct.pack(">4I", 1, 20, 20 + len(tree), 20 + len(tree) + len(contents))
    folder = tmp_path / "some-package" / "usr"
    folder.mkdir(parents=True)
    (folder / "x.rcc").write_bytes(b"qres" + head + tree + contents + strings)
    (folder / "kept.png").write_bytes(b"png")
    (folder / "other.txt").write_bytes(b"text")
    source = _photographs.Source("some-package", "report", "things", ("kept.png", "a/kept.webp"))
    assert _photographs.pictures(source, tmp_path) == [folder / "kept.png", b"hello"]
    missing = _photographs.Source("no-such-package-anywhere", "report", "things", ("*",))
    assert _photographs.pictures(missing, tmp_path) == []
