"""`card`: what a model is and how far to trust it, in plain words."""

import json

import click

from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.output import show_table
from cifar_model.models.card import load_card
from cifar_model.models.folder import find_model
from cifar_model.text import share
from cifar_model.trust.report import read_report


@click.command()
@click.argument("name", metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print the card as it is stored.")
def card(name: str, as_json: bool) -> None:
    """Say in plain words what MODEL is, how accurate it is, and how far to trust it.

    MODEL is a bundled model, a run, RUN@EPOCH or a folder. All figures were measured when its training ended.
    """
    if as_json:
        click.echo(json.dumps(load_card(find_model(name)), indent=2))
        return
    report = read_report(name)
    click.echo(name)
    for sentence in report.sentences():
        click.echo(f"  {sentence}")
    if report.by_class is not None:
        _head(
            "Classes",
            "Precision: how often that answer is correct. Recall: the share of the class that it recognises.",
        )
        rows = zip(CLASS_NAMES, *(map(share, values) for values in report.by_class), strict=True)
        show_table(("CLASS", "PRECISION", "RECALL"), rows)
    if report.calibration_error is not None:
        _head("Percentages", "Of the answers given with 80 %, about 80 % should be correct.")
        before = report.calibration_error_before
        raw = f" (before calibration {100 * before:.1f})" if before is not None else ""
        click.echo(f"  Mean gap between confidence and accuracy: {100 * report.calibration_error:.1f} points{raw}.")
    if report.set_levels:
        _head("Answer sets", "Every class that can't be ruled out; a set contains the true class as often as promised.")
        levels = report.set_levels
        sizes = {n: "–" if level.mean_size is None else f"{level.mean_size:.2f}" for n, level in levels.items()}
        show_table(
            ("PROMISED", "CONTAINS THE TRUE CLASS", "WORST CLASS", "MEAN SIZE"),
            ((f"{n} %", share(level.coverage), level.worst_class or "–", sizes[n]) for n, level in levels.items()),
        )
    if report.scope is not None:
        _head("Out of scope", "An image with too low a score looks like none of the ten classes.")
        if report.scope.false_alarms is not None:
            click.echo(f"  Wrongly flagged: {share(report.scope.false_alarms)} of the test images.")
        for probe, found in report.scope.probes.items():
            if found.flagged is not None:
                click.echo(f"  Flagged of {probe}: {share(found.flagged)}.")
    if report.mixes is not None:
        mixes = report.mixes
        _head("Blends", "A network that reads a blend of two images gives each of their classes its share.")
        click.echo(
            f"  Distance from the share: {100 * mixes.share_error:.1f} points. Both classes together: "
            f"{share(mixes.parents_mass, 0)}. Both on top at 50 %: {share(mixes.top_two, 0)}."
        )
    if report.explanation:
        why = report.explanation
        _head("Explanations", "Hiding what is marked should cost more than hiding as much elsewhere.")
        click.echo(
            f"  Marked: {100 * why.drop_marked:.0f} points less. "
            f"Patches of the same shapes elsewhere: {100 * why.drop_elsewhere:.0f}."
        )
    if not (report.set_levels and report.scope) and not report.is_epoch and not report.is_imported:
        click.echo(f"\nSome of it was never measured. To do so (needs CIFAR-10): python -m cifar_model assess {name}")
    for problem in report.problems:
        click.echo(f"Warning: {problem}", err=True)


def _head(title: str, line: str) -> None:
    click.echo(f"\n{title}. {line}")
