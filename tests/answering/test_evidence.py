"""Evidence against networks whose reasons are known exactly, neighbours against plain NumPy."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import REPOSITORY, make_pictures
from PIL import Image

from cifar_model.answering import evidence
from cifar_model.answering.classifier import Classifier
from cifar_model.answering.evidence import Explainer, explain, mark
from cifar_model.answering.neighbours import Neighbours, nearest
from cifar_model.charts.explanations import Explanations, explain_picture
from cifar_model.charts.heat import heat_legend, overlay
from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import DatasetError, LabError, SettingsError
from cifar_model.networks.backend import import_keras

CAT, DOG = CLASS_NAMES.index("cat"), CLASS_NAMES.index("dog")
METHODS = tuple(evidence.METHODS)


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def linear_network(weights: np.ndarray, *, softmax_layer: bool = False):
    """Logits are sums over pixels: weights (32, 32, 3, 10)."""
    keras = import_keras()
    pixels = keras.Input((32, 32, 3))
    flat = keras.layers.Flatten()(pixels)
    if softmax_layer:
        dense = keras.layers.Dense(10, use_bias=False)
        network = keras.Model(pixels, keras.layers.Softmax()(dense(flat)))
    else:
        dense = keras.layers.Dense(10, use_bias=False, activation="softmax")
        network = keras.Model(pixels, dense(flat))
    dense.set_weights([weights.reshape(-1, 10).astype(np.float32)])
    return network


def quadrant_network(rows=slice(0, 16), columns=slice(0, 16), **options):
    """Calls it a cat the brighter one quadrant is, and looks nowhere else."""
    weights = np.zeros((32, 32, 3, 10))
    weights[rows, columns, :, CAT] = 0.002
    return linear_network(weights, **options)


def spot_network(template: np.ndarray):
    """Calls it a cat the more one spot, anywhere, looks like the template (h, w); a convolution and its maximum."""
    keras = import_keras()
    pixels = keras.Input((32, 32, 3))
    layer = keras.layers.Conv2D(1, template.shape, use_bias=False)
    found = keras.layers.GlobalMaxPooling2D()(layer(pixels))
    head = keras.layers.Dense(10, activation="softmax", use_bias=False)
    network = keras.Model(pixels, head(found))
    layer.set_weights([np.repeat(template[..., None, None], 3, axis=2) / template.size])
    head.set_weights([0.02 * np.eye(10, dtype=np.float32)[CAT : CAT + 1]])
    return network


def bright_spot(top: int, left: int) -> np.ndarray:
    picture = np.full((32, 32, 3), 60, np.uint8)
    picture[top : top + 6, left : left + 6] = 230
    return picture


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("softmax_layer", [False, True])
def test_evidence_lies_where_the_network_looks(method, softmax_layer):
    network = quadrant_network(softmax_layer=softmax_layer)
    picture = noise(1) // 4
    picture[:, 4:12, 4:12] = 240
    heat = explain(network, picture, np.array([CAT]), method=method)[0]
    assert heat.dtype == np.float32 and heat.shape == (32, 32)
    assert heat.min() >= 0 and heat.max() == 1
    assert heat[4:12, 4:12].sum() > 0.5 * heat.sum()  # 64 of 1024 pixels
    far = np.ones((32, 32), bool)
    far[:20, :20] = False  # the blur, and a square, reach beyond the quadrant
    assert heat[far].max() < 0.02


def test_a_linear_network_is_explained_exactly():
    """Its gradient is the same everywhere on the path: evidence = weight × what the pixel adds over its stand-in."""
    weights = np.zeros((32, 32, 3, 10))
    weights[..., CAT] = np.random.default_rng(1).normal(0, 1e-4, (32, 32, 3))
    pictures = noise(3)
    heat = explain(linear_network(weights), pictures, np.full(3, CAT))
    x = pictures.astype(np.float64)
    kernel = np.exp(-0.5 * (np.subtract.outer(np.arange(32), np.arange(32)) / 4) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    blurred = np.einsum("ij,njkc,lk->nilc", kernel, x, kernel)
    np.testing.assert_allclose(evidence.blurred(pictures), blurred, atol=1e-2)
    adds = x - (x.mean(axis=(1, 2), keepdims=True) + blurred) / 2
    expected = (adds * weights[..., CAT]).sum(axis=-1)
    small = np.exp(-0.5 * np.subtract.outer(np.arange(32), np.arange(32)) ** 2)
    small /= small.sum(axis=1, keepdims=True)
    expected = np.maximum(small @ expected @ small.T, 0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(heat, expected, atol=2e-3)


@pytest.mark.parametrize("method", METHODS)
def test_evidence_moves_with_what_is_seen(method):
    network = spot_network(np.ones((6, 6), np.float32))
    pictures = np.stack([bright_spot(8, 8), bright_spot(16, 12)])
    first, second = explain(network, pictures, np.array([CAT, CAT]), method=method)
    np.testing.assert_allclose(np.roll(first, (8, 4), axis=(0, 1)), second, atol=0.05)
    rows, columns = np.nonzero(second > 0.5)
    assert 14 <= rows.min() and rows.max() <= 23 and 10 <= columns.min() and columns.max() <= 19


@pytest.mark.parametrize("method", METHODS)
def test_what_is_marked_counts_most(method):
    """Removing the marked pixels costs the class more than removing as many at random."""
    network = quadrant_network()
    explainer = Explainer(network)
    pictures, classes = noise(8), np.full(8, CAT)
    pictures[:, :16, :16] |= 128
    marked = mark(explainer.explain(pictures, classes, method=method))
    assert (marked.sum(axis=(1, 2)) == 205).all()

    def cost(hidden):
        stand_in = pictures.mean(axis=(1, 2), keepdims=True)
        without = np.where(hidden[..., None], stand_in, pictures)
        return explainer.log_odds(pictures, classes) - explainer.log_odds(without, classes)

    random = mark(np.random.default_rng(0).random(marked.shape))
    assert (cost(marked) > 3 * cost(random)).all()  # all of it lies in a quarter of the picture


@pytest.mark.parametrize("method", METHODS)
def test_a_mirror_average_is_explained_by_both_views(method):
    from cifar_model.networks.views import mirror_average

    network = mirror_average(quadrant_network())
    picture = noise(1)
    picture[:, :12] = 250
    heat = explain(network, picture, np.array([CAT]), method=method)[0]
    # The quadrant of the picture, and mapped back that of its mirror image.
    assert heat[:16, :16].sum() > 0.3 * heat.sum() and heat[:16, 16:].sum() > 0.3 * heat.sum()
    both = np.concatenate([picture, picture[:, :, ::-1]])
    straight, mirrored = explain(network, both, np.array([CAT, CAT]), method=method)
    np.testing.assert_allclose(straight, mirrored[:, ::-1], atol=1e-3)


def test_nothing_speaks_for_a_class():
    heat = explain(quadrant_network(), np.full((1, 32, 32, 3), 99, np.uint8), np.array([CAT]))
    assert not heat.any()
    assert explain(quadrant_network(), noise(0), np.zeros(0, int)).shape == (0, 32, 32)


@pytest.mark.parametrize("network", ["seed-cnn", "lab-net", "custom", "mirrored"])
def test_every_network_of_the_lab(network):
    from cifar_model.networks.build import build_network
    from cifar_model.networks.views import mirror_average

    import_keras().utils.set_random_seed(5)
    built = build_network("seed-cnn" if network == "mirrored" else network)
    explainer = Explainer(mirror_average(built) if network == "mirrored" else built)
    pictures, _ = make_pictures(1, seed=4)
    pictures = pictures[:3]
    classes = np.array([0, 5, 9])
    together = explainer.explain(pictures, classes)
    assert together.shape == (3, 32, 32) and np.isfinite(together).all() and together.max() == 1
    alone = np.concatenate([explainer.explain(pictures[i : i + 1], classes[i : i + 1]) for i in range(3)])
    # Rounding may change which pixel is hidden next, and that a little of the rest.
    assert np.abs(alone - together).mean() < 0.02
    log_odds = explainer.log_odds(pictures.astype(np.float32), classes)
    if network != "mirrored":
        p = built.predict(pictures, verbose=0)[np.arange(3), classes]
        np.testing.assert_allclose(log_odds, np.log(p / (1 - p)), rtol=1e-3, atol=1e-3)


def test_gradients_are_those_of_the_log_odds(random_model):
    explainer = Explainer(Classifier(random_model).network)
    pictures, classes = noise(2).astype(np.float32), np.array([CAT, DOG])
    gradients = explainer.gradients(pictures, classes)
    direction = np.random.default_rng(2).normal(size=pictures.shape).astype(np.float32)
    there, back = (explainer.log_odds(pictures + sign * 0.05 * direction, classes) for sign in (1, -1))
    expected = (there - back) / 0.1
    np.testing.assert_allclose((gradients * direction).sum(axis=(1, 2, 3)), expected, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "classes", "method", "message"),
    [
        (np.zeros((1, 32, 32, 3), np.float32), [0], None, "float32"),
        (np.zeros((32, 32, 3), np.uint8), [0], None, "(32, 32, 3)"),
        (noise(2), [0], None, r"int (2,)"),
        (noise(1), [0.5], None, "float64"),
        (noise(1), [10], None, "0 to 9"),
        (noise(1), [-1], None, "0 to 9"),
        (noise(1), [0], "tarot", "deletion-path, occlusion"),
    ],
)
def test_what_cannot_be_explained_is_said(images, classes, method, message):
    with pytest.raises(SettingsError) as caught:
        explain(quadrant_network(), images, np.array(classes), method=method)
    assert message in str(caught.value)


def test_without_tensorflow_gradients_are_refused_and_occlusion_answers(monkeypatch):
    explainer = Explainer(quadrant_network())
    picture = noise(1)
    monkeypatch.setattr(evidence, "_has_tensorflow", lambda: False)
    expected = explainer.explain(picture, np.array([CAT]), method="occlusion")
    np.testing.assert_array_equal(explainer.explain(picture, np.array([CAT])), expected)
    with pytest.raises(SettingsError, match="occlusion"):
        explainer.explain(picture, np.array([CAT]), method="deletion-path")


# ------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("level", [0, 60, 128, 200, 255])
def test_heat_stands_out_from_light_and_dark_pictures(level):
    heat = np.zeros((32, 32), np.float32)
    heat[:, 8:16], heat[:, 16:24], heat[:, 24:] = 0.3, 0.6, 1
    drawn = np.asarray(overlay(np.full((32, 32, 3), level, np.uint8), heat, scale=3), float)
    assert drawn.shape == (96, 96, 3)
    columns = drawn[0, [4, 36, 60, 84]]
    assert np.ptp(columns[0]) <= 1  # grey where there is none
    luminance = columns @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance[[0, 2, 3]]) > 15).all()
    # Yellow against blue is what most colour-blind people tell from grey.
    assert (columns[1:, :2].mean(axis=1) - columns[1:, 2] > 60).all()


def test_an_overlay_keeps_pixels_square_and_has_a_legend():
    pixels, heat = noise(1)[0], np.random.default_rng(0).random((32, 32)).astype(np.float32)
    plain = np.asarray(overlay(pixels, heat, scale=7))
    assert plain.shape == (224, 224, 3) and plain.dtype == np.uint8
    np.testing.assert_array_equal(plain, plain[::7, ::7].repeat(7, axis=0).repeat(7, axis=1))
    for name in CLASS_NAMES:
        with_legend = np.asarray(overlay(pixels, heat, scale=7, class_name=name))
        np.testing.assert_array_equal(with_legend[:224], plain)
        legend = with_legend[224:]
        assert (legend[:, -1] == 255).all()  # no text runs out of it
        assert (legend.max(axis=2) < 80).any()
    cat, dog = (np.asarray(heat_legend(name, width=224)) for name in ("cat", "dog"))
    assert not np.array_equal(cat, dog)


def test_one_picture_explained_and_drawn(random_model):
    classifier, pixels = Classifier(random_model), noise(1)[0]
    drawn, heat = explain_picture(classifier, pixels, DOG, scale=4)
    np.testing.assert_array_equal(heat, classifier.explain(pixels[None], np.array([DOG]))[0])
    np.testing.assert_array_equal(drawn, np.asarray(overlay(pixels, heat, scale=4, class_name="dog")))


def test_explanations_are_written_one_a_picture(random_model, tmp_path):
    classifier = Classifier(random_model)
    explanations = Explanations(classifier, tmp_path / "new" / "folder")
    sources = [tmp_path / "a" / "cat.jpg", tmp_path / "b" / "Cat.png", tmp_path / "dog.webp"]
    for source, pixels in zip(sources, noise(3), strict=True):
        file = explanations.add(source, pixels, classifier.predict(pixels[None])[0])
        drawn = np.asarray(Image.open(file))
        np.testing.assert_array_equal(drawn[:320:10, :320:10], pixels)
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["Cat-why-2.png", "cat-why.png", "dog-why.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="Can't make the folder"):
        Explanations(classifier, tmp_path / "file" / "below")


def test_classify_explains_each_picture_into_a_folder(random_model, tmp_path):
    from cifar_model.cli.classify import classify

    for name, pixels in zip(("one.png", "two.png"), noise(2), strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    arguments = [str(tmp_path), "--model", str(random_model), "--explain", str(tmp_path / "why"), "--json"]
    done = CliRunner().invoke(classify, arguments)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == ["one-why.png", "two-why.png"]


# ---------------------------------------------------------------------------------------------- neighbours


@pytest.mark.parametrize("k", [1, 5, 300])
def test_nearest_is_what_plain_numpy_finds(k):
    rng = np.random.default_rng(k)
    features, rows = rng.normal(size=(7, 20)), rng.normal(size=(300, 20))
    bank = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    indices, distances = nearest(features, bank, k)
    cosine = features @ bank.T / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_array_equal(indices, np.argsort(-cosine, axis=1)[:, :k])
    np.testing.assert_allclose(distances, 1 - np.take_along_axis(cosine, indices, axis=1), atol=1e-5)
    assert indices.dtype == np.int64 and distances.dtype == np.float32


def test_nearest_refuses_more_neighbours_than_there_are():
    with pytest.raises(SettingsError, match="1 to 3"):
        nearest(np.ones((1, 2)), np.eye(3, 2), 4)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_neighbours_are_computed_once_and_found_again(random_model, tiny_cifar10, cache):
    classifier = Classifier(random_model)
    neighbours = Neighbours(classifier, tiny_cifar10)
    assert not neighbours.is_ready()
    assert list(neighbours.prepare(batch_size=150)) == [150, 300, 400]
    assert neighbours.is_ready() and neighbours.images.shape == (400, 32, 32, 3) and neighbours.labels.shape == (400,)
    pictures, _ = make_pictures(1, seed=9)
    indices, distances = neighbours.nearest(pictures, k=4)

    bank, asked = classifier.features(neighbours.images), classifier.features(pictures)
    cosine = asked @ bank.T / np.linalg.norm(asked, axis=1)[:, None] / np.linalg.norm(bank, axis=1)
    np.testing.assert_allclose(distances, 1 + np.sort(-cosine, axis=1)[:, :4], atol=2e-3)
    np.testing.assert_allclose(1 - np.take_along_axis(cosine, indices, axis=1), distances, atol=2e-3)
    own, zero = neighbours.nearest(neighbours.images[:5], k=1)
    np.testing.assert_allclose(zero, 0, atol=2e-3)

    (file,) = (cache / "cifar10" / "features").iterdir()  # nothing is left beside it
    kept = np.load(file)
    assert kept.dtype == np.float16 and kept.shape == (400, 64)
    again = Neighbours(SimpleNamespace(path=classifier.path, features=classifier.features), tiny_cifar10)
    assert again.is_ready() and list(again.prepare()) == [400]
    np.testing.assert_array_equal(again.nearest(pictures, k=4)[0], indices)


def test_neighbours_of_other_weights_or_left_half_way_are_not_found(random_model, tiny_cifar10, cache, tmp_path):
    classifier = Classifier(random_model)
    half = Neighbours(classifier, tiny_cifar10).prepare(batch_size=100)
    assert next(half) == 100
    half.close()
    assert not Neighbours(classifier, tiny_cifar10).is_ready()
    list(Neighbours(classifier, tiny_cifar10).prepare())
    assert Neighbours(classifier, tiny_cifar10).is_ready()
    other = tmp_path / "other.keras"
    other.write_bytes((random_model / "model.keras").read_bytes() + b"\0")
    assert not Neighbours(SimpleNamespace(path=other), tiny_cifar10).is_ready()


def test_a_broken_cache_is_computed_again(random_model, tiny_cifar10, cache):
    classifier = Classifier(random_model)
    list(Neighbours(classifier, tiny_cifar10).prepare())
    (file,) = (cache / "cifar10" / "features").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    indices, _ = Neighbours(classifier, tiny_cifar10).nearest(noise(1), k=3)
    assert indices.shape == (1, 3) and np.load(file).shape == (400, 64)


def test_without_data_there_are_no_neighbours(random_model, tmp_path):
    with pytest.raises(DatasetError):
        Neighbours(SimpleNamespace(path=random_model), tmp_path / "nothing")


def test_explaining_needs_neither_altair_nor_streamlit():
    code = (
        "import sys, cifar_model.answering.evidence, cifar_model.charts.explanations\n"
        "print({'altair', 'streamlit', 'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
