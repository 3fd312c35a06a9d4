"""Does outlier exposure help against what it never showed? Run: python -m benchmarks.held_out_things --help"""

import tempfile
from pathlib import Path

import click
import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks._common import Table, benchmark, data_option, say, say_epochs, settings_of, temporary_run

# Krizhevsky 2009, table of CIFAR-100's superclasses; each has five classes.
SUPERCLASSES = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium-sized mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}
HELD_OUT = ("flowers", "household furniture", "large carnivores", "people", "vehicles 1")


@benchmark
@data_option
@click.option("--outliers", default="cifar100", show_default=True, help="CIFAR-100, as for `train --outliers`.")
@click.option(
    "--held-out",
    multiple=True,
    type=click.Choice(list(SUPERCLASSES)),
    default=HELD_OUT,
    show_default=True,
    help="Superclasses that the training never shows; may be repeated.",
)
@click.option("--epochs", type=click.IntRange(1), default=8, show_default=True)
@click.option("--recipe", type=click.Choice(["full", "quick"]), default="full", show_default=True)
@click.option("--network", type=click.Choice(["lab-net", "seed-cnn"]), default="lab-net", show_default=True)
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Share of the training data, for a try.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(data, outliers, held_out, epochs, recipe, network, fraction, seed):
    """Train with outlier exposure, but without some superclasses of CIFAR-100, and look how many of these are flagged.

    All pictures that are asked about are of CIFAR-100's test part. AUROC: how often a test image of CIFAR-10 scores
    higher. Wanted of the superclasses that were held out: AUROC ≥ 0.95.
    """
    from cifar_model.answering.classifier import Classifier
    from cifar_model.data.cache import load_cifar10
    from cifar_model.data.outliers import LEFT_OUT, load_cifar100
    from cifar_model.training.train import train
    from cifar_model.trust.scope import scope_score

    hidden = {name for group in held_out for name in SUPERCLASSES[group].split()}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, temporary_run() as run:
        images, labels, names = load_cifar100(outliers)
        shown = np.isin(labels, [i for i, name in enumerate(names) if name not in {*hidden, *LEFT_OUT}])
        for number, pixels in enumerate(images[shown]):
            Image.fromarray(pixels).save(Path(folder) / f"{number:05}.png")
        say(f"{shown.sum():,} pictures are shown; held out: {', '.join(held_out)}.")

        settings = settings_of(network, recipe, epochs=epochs, fraction=fraction, seed=seed, data=data, outliers=folder)
        card = train(settings, run, report=say_epochs(network))
        classifier = Classifier(run, calibrated=False)
        inside = scope_score(classifier.predict(np.asarray(load_cifar10(data)[1][0])))
        strange, strange_labels, names = load_cifar100(outliers, "test")
        scores = scope_score(classifier.predict(strange))

    table = Table(
        f"{network}, {epochs} epochs, {card.scores.test_accuracy:.1%} on test: superclasses held out of the exposure",
        ["superclass", "shown", "images", "AUROC", "flagged %"],
    )
    held = np.isin(strange_labels, [i for i, name in enumerate(names) if name in hidden])
    left_out = np.isin(strange_labels, [i for i, name in enumerate(names) if name in LEFT_OUT])

    def add(what: str, is_shown: str, chosen: np.ndarray) -> None:
        values = scores[chosen & ~left_out]
        truth = np.repeat([1, 0], [len(inside), len(values)])
        auroc = float(roc_auc_score(truth, np.concatenate([inside, values])))
        table.add(what, is_shown, len(values), auroc, 100 * float((values < classifier.scope_threshold).mean()))

    for group, members in SUPERCLASSES.items():
        of_group = [i for i, name in enumerate(names) if name in members.split()]
        add(group, "no" if group in held_out else "yes", np.isin(strange_labels, of_group))
    add("all held out", "no", held)
    add("all shown", "yes", ~held)
    flagged = 100 * float((inside < classifier.scope_threshold).mean())
    table.add("CIFAR-10 test images", "", len(inside), None, flagged)
    table.notes.append(f"Never shown nor counted: {', '.join(name.replace('_', ' ') for name in LEFT_OUT)}.")
    return table


if __name__ == "__main__":
    main()
