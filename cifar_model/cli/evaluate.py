"""`evaluate`: score a model on CIFAR-10."""

import json
from pathlib import Path

import click
import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.answering.classifier import BATCH_SIZE, Classifier
from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.options import check_fitted, file_path, json_option, model_option, raw_option
from cifar_model.cli.output import show_table
from cifar_model.cli.progress import progress_bar
from cifar_model.data.cache import load_cifar10
from cifar_model.errors import SettingsError
from cifar_model.text import share
from cifar_model.trust.answer_sets import LEVELS, evaluate_sets
from cifar_model.trust.calibration import expected_calibration_error, reliability_bins
from cifar_model.trust.doubts import data_doubts
from cifar_model.trust.metrics import accuracy_score, confusion_matrix, cross_entropy_loss, precision_recall
from cifar_model.trust.mixes import SHARES, mix_scores, pairs_of


@click.command()
@model_option
@raw_option
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10's folder or archive; default: CIFAR10_DIR.")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True)
@click.option("--limit", metavar="N", type=click.IntRange(1), help="The first N images only.")
@click.option("--chart", metavar="FILE", type=file_path, help="Draw the confusion matrix: .png, .svg or .html.")
@click.option("--calibration", is_flag=True, help="How sure it was, how often right, and what its answer sets hold.")
@click.option("--scope", "with_scope", is_flag=True, help='The share that it wrongly takes for "none of the ten".')
@click.option("--mixes", is_flag=True, help="How well its probabilities follow the shares of blends of two images.")
@json_option
def evaluate(
    model: str,
    raw: bool,
    data_dir: str | None,
    split: str,
    limit: int | None,
    chart: Path | None,
    calibration: bool,
    with_scope: bool,
    mixes: bool,
    as_json: bool,
) -> None:
    """Score a model on CIFAR-10: accuracy, loss, precision and recall of each class, confusion matrix."""
    from cifar_model.charts.save import (
        check_chart_path,  # brings Altair
        save_chart,  # brings Altair
    )
    from cifar_model.charts.scores import confusion_chart  # brings Altair

    if chart:
        check_chart_path(chart)
    train, test = load_cifar10(data_dir)
    images, labels = (array[:limit] for array in (test if split == "test" else train))
    classifier = Classifier(model, calibrated=not raw)
    check_fitted(classifier, sets=False, scope=with_scope)
    found = []
    with progress_bar(len(images)) as bar:
        for start in range(0, len(images), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            found.append(classifier.examine(images[part]))
            bar.update(len(images[part]))
    found = Answer.join(found)
    probabilities = found.probabilities
    answers = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, answers)
    precision, recall = precision_recall(confusion)
    result = {
        "model": model,
        "split": split,
        "images": len(images),
        "accuracy": float(accuracy_score(labels, answers)),
        "loss": float(cross_entropy_loss(labels, probabilities)),
        "calibration_error": float(expected_calibration_error(labels, probabilities)),
        "classes": {
            name: {
                # Undefined where the class was never answered, or never shown.
                "precision": _number(precision[i]) if confusion[:, i].any() else None,
                "recall": _number(recall[i]) if confusion[i].any() else None,
                "images": int(confusion[i].sum()),
            }
            for i, name in enumerate(CLASS_NAMES)
        },
        "confusion": confusion.tolist(),
    }
    if calibration:
        result["reliability"] = reliability_bins(labels, probabilities).tolist()
        if classifier.sets:
            result["sets"] = {str(level): evaluate_sets(labels, found.members(level)) for level in LEVELS}
    if with_scope:
        result["false_alarms"] = float(1 - found.in_scope.mean())
    if mixes:
        if len(np.unique(labels)) < 2:
            raise SettingsError(f"--mixes needs images of two classes; these {len(labels)} are of one. Raise --limit.")
        with progress_bar(pairs_of(len(labels)) * len(SHARES)) as bar:

            def believed(blends: np.ndarray) -> np.ndarray:
                bar.update(len(blends))
                return classifier.predict(blends)

            result["mixes"] = mix_scores(believed, images, labels)
    known = classifier.card.scores.test_accuracy
    doubts = None
    if split == "test" and known is not None:
        doubts = data_doubts(classifier.predict, images, labels, known, asked=classifier.name)
    if doubts:
        result["doubts"] = doubts
        click.echo(f"Warning: this may not be CIFAR-10. {doubts}", err=True)
    title = f"{classifier.name} on {len(images):,} {split} images"
    if chart:
        save_chart(confusion_chart(confusion, title=title), chart)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(title)
    click.echo(f"accuracy           {share(result['accuracy'], 2)}")
    click.echo(f"loss               {result['loss']:.4f} (cross-entropy, nats)")
    click.echo(f"calibration error  {share(result['calibration_error'], 2)} (expected, 15 bins)\n")
    show_table(
        ("CLASS", "PRECISION", "RECALL", "IMAGES"),
        (
            (name, share(row["precision"]), share(row["recall"]), f"{row['images']:,}")
            for name, row in result["classes"].items()
        ),
    )
    if calibration:
        click.echo()
        show_table(
            ("CONFIDENCE", "ACCURACY", "GAP", "IMAGES"),
            (
                (share(confidence), share(right), f"{100 * (confidence - right):+.1f}", f"{count:,.0f}")
                for confidence, right, count in result["reliability"]
            ),
        )
        for level, sets in result.get("sets", {}).items():
            click.echo(
                f"answer sets at {level} %: contain the true class {share(sets['coverage'], 2)} of the time, "
                f"mean size {sets['mean_size']:.2f}, {sets['sizes'][0]:,} empty"
            )
    if with_scope:
        click.echo(f"\nnone of the ten: {share(result['false_alarms'], 2)} wrongly flagged")
    if mixes:
        found_mixes = result["mixes"]
        click.echo(f"\nblends of {found_mixes['pairs']:,} pairs of images of two classes, at 10 to 90 %:")
        click.echo(f"  mean distance of a probability from its share  {found_mixes['share_error']:.3f}")
        click.echo(f"  mean probability of both classes together      {found_mixes['parents_mass']:.3f}")
        click.echo(f"  both classes the two most probable at 50 %     {share(found_mixes['top_two'])}")
    click.echo("\nConfusion matrix: rows are true classes, columns predicted ones")
    rows = ((name, *map(str, counts)) for name, counts in zip(CLASS_NAMES, confusion.tolist(), strict=True))
    show_table(("", *(name[:5] for name in CLASS_NAMES)), rows)


def _number(value: float) -> float | None:
    """JSON has no NaN: a precision or recall that is undefined becomes null."""
    return float(value) if np.isfinite(value) else None
