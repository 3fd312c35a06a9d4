"""Which score tells pictures of other things from the ten classes? Run: python -m benchmarks.out_of_scope --help"""

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score

from benchmarks._common import Table, benchmark, data_option, say

OURS = "generalised entropy"
EACH = 100  # generated pictures a kind
TEXT = (
    "This is a page of text, such as one finds in a letter, a contract or a book.\n"
    "None of its lines shows an animal or a vehicle, whatever they say:\n"
    "cat, dog, frog, horse, deer, bird, ship, truck, airplane, automobile.\n"
) * 8
folders = click.Path(exists=True, file_okay=False, path_type=Path)


@benchmark
@data_option
@click.option("--model", default="lab-net", show_default=True, help="Name or folder of a model.")
@click.option("--other", "others", multiple=True, type=folders, help="Photographs of none of the ten; may be repeated.")
@click.option("--good", multiple=True, type=folders, help="Good photographs of the ten classes; may be repeated.")
@click.option("--images", "count", type=click.IntRange(20), default=10_000, show_default=True, help="Test images.")
@click.option("--write-card", is_flag=True, help="Write the shipped score's figures into the model's card.json.")
def main(data, model, others, good, count, write_card):
    """Out of scope: candidates for the score, on generated pictures, text, and folders of photographs.

    AUROC: how often a test image of CIFAR-10 scores higher than a picture of the probe. Flagged: the share below the
    threshold, which 5 % of the untouched held-out training images miss. No threshold is chosen on any probe. Wanted on
    photographs of other things: AUROC ≥ 0.99, flagged ≥ 93 %; of other animals and vehicles ≥ 0.95 and ≥ 70 %; at most
    6 % of good photographs of the ten classes flagged.
    """
    from cifar_model.answering.classifier import Classifier
    from cifar_model.data.cache import load_cifar10
    from cifar_model.data.split import split_at
    from cifar_model.errors import LabError
    from cifar_model.models.card import load_card
    from cifar_model.models.card import write_card as save_card
    from cifar_model.storage import assets_dir
    from cifar_model.trust.outside import outside_pictures

    classifier = Classifier(model)
    if classifier.scope_threshold is None:
        raise LabError(
            f"The model {model} has no out-of-scope score. Only a finished run, or a shipped model, has one."
        )
    (images, _), (test, _) = load_cifar10(data)
    held = images[split_at(images, classifier.card.data.held_out_up_to).untouched]
    probes = {f"{folder.name} (photographs)": photographs(folder) for folder in others}
    probes |= {"generated, showing nothing": outside_pictures(7 * EACH, seed=1), "rendered text": rendered_text(EACH)}
    good_probes = {"the ten samples": photographs(assets_dir() / "samples")}
    good_probes |= {f"{folder.name} (the ten classes)": photographs(folder) for folder in good}

    scores = candidates(classifier)
    held, inside = ask(classifier, np.asarray(held)), ask(classifier, np.asarray(test[:count]))
    asked = {name: ask(classifier, pictures) for name, pictures in (probes | good_probes).items()}
    table = Table(
        f"{classifier.path.name}: out of scope, against {count} test images",
        ["score", "probe", "images", "AUROC", "flagged %"],
    )
    card = {}
    for name, score in scores.items():
        threshold = float(np.quantile(score(*held), 0.05))
        tests = score(*inside)
        table.add(name, "CIFAR-10 test images", len(tests), None, 100 * float((tests < threshold).mean()))
        for probe, outputs in asked.items():
            values = score(*outputs)
            truth = np.repeat([1, 0], [len(tests), len(values)])
            auroc = float(roc_auc_score(truth, np.concatenate([tests, values]))) if probe in probes else None
            flagged = float((values < threshold).mean())
            table.add(name, probe, len(values), auroc, 100 * flagged)
            if name == OURS and auroc is not None:
                card[probe] = {"auroc": round(auroc, 4), "flagged": round(flagged, 4), "images": len(values)}
    if write_card:
        whole = load_card(classifier.path)
        whole["scope"]["probes"] = card
        save_card(classifier.path, whole)
        say(f"Written: {classifier.path}")
    return table


def ask(classifier, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The network's own softmax, the calibrated one, and the features that the last layer decides upon."""
    raw, features = classifier._ask(pictures, 250)
    from cifar_model.trust.calibration import calibrate

    return raw, calibrate(raw, classifier.calibration), features


def candidates(classifier) -> dict[str, Callable]:
    """{name: score of (raw, calibrated, features)}; higher where a picture looks more like the ten classes."""
    from cifar_model.trust.scope import scope_score

    weights, bias = _last_layer(classifier)

    def logits(features):
        return features @ weights + bias

    return {
        OURS: lambda raw, p, features: scope_score(raw),
        "largest calibrated probability": lambda raw, p, features: p.max(axis=1),
        "largest raw probability": lambda raw, p, features: raw.max(axis=1),
        "entropy": lambda raw, p, features: (raw * np.log(np.maximum(raw, 1e-30))).sum(axis=1),
        "largest logit": lambda raw, p, features: logits(features).max(axis=1),
        "energy": lambda raw, p, features: np.log(np.exp(logits(features)).sum(axis=1)),
        "norm of the features": lambda raw, p, features: np.linalg.norm(features, axis=1),
        "largest probability × norm": lambda raw, p, features: (
            np.log(raw.max(axis=1)) + np.log(np.linalg.norm(features, axis=1))
        ),
    }


def _last_layer(classifier) -> tuple[np.ndarray, np.ndarray]:
    """Weights (d, 10) and bias (10,) from features to logits."""
    from cifar_model.networks.backend import import_keras
    from cifar_model.networks.views import single_view

    layers = import_keras().layers
    network = single_view(classifier.network)
    dense = [layer for layer in network.layers if isinstance(layer, layers.Dense)][-1]
    weights, *bias = dense.get_weights()
    scale = next((layer.scale for layer in network.layers if layer.name == "logit_scale"), 1.0)
    return weights * scale, bias[0] if bias else np.zeros(weights.shape[1])


def photographs(folder: Path) -> np.ndarray:
    """uint8 (n, 32, 32, 3), as the app reads pictures; what it refuses is left out, with a word."""
    from cifar_model.errors import ImageError
    from cifar_model.pictures.fit import load_image
    from cifar_model.pictures.folders import find_images

    loaded = []
    for source in find_images([folder]):
        try:
            loaded.append(load_image(source))
        except ImageError as error:
            say(str(error))
    return np.array(loaded, np.uint8).reshape(-1, 32, 32, 3)


def rendered_text(n: int) -> np.ndarray:
    """Pages, lines and letters in Pillow's own typeface, dark on light or light on dark."""
    from cifar_model.pictures.fit import fit_image

    rng, pictures = np.random.default_rng(0), []
    for _ in range(n):
        dark, light = rng.integers(0, 100, 3), rng.integers(160, 256, 3)
        ground, ink = (light, dark) if rng.random() < 0.7 else (dark, light)
        page = Image.new("RGB", (256, 256), tuple(map(int, ground)))
        font = ImageFont.load_default(int(rng.choice([12, 20, 40, 90])))
        place = tuple(int(value) for value in rng.integers(-60, 20, 2))
        ImageDraw.Draw(page).multiline_text(place, TEXT[rng.integers(60) :], fill=tuple(map(int, ink)), font=font)
        pictures.append(fit_image(page))
    return np.array(pictures)


if __name__ == "__main__":
    main()
