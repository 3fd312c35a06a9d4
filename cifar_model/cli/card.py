"""`card`: what a model is and how far to trust it, in plain words."""

import json

import click

from cifar_model.classes import CLASS_NAMES
from cifar_model.models.card import load_card
from cifar_model.models.folder import find_model
from cifar_model.text import share
from cifar_model.trust.report import read_report


@click.command()
@click.argument("name", metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print the card as it is stored.")
def card(name: str, as_json: bool) -> None:
    """Tell in plain words what MODEL is, how good it is, and how far to trust it.

    MODEL is a bundled model, a run, RUN@EPOCH or a folder. All numbers were measured when its training ended.
    """
    if as_json:
        click.echo(json.dumps(load_card(find_model(name)), indent=2))
        return
    report = read_report(name)
    click.echo(name)
    for sentence in report.sentences():
        click.echo(f"  {sentence}")
    if report.by_class is not None:
        _head("Each class", "Precision: how often that answer is right. Recall: how many such pictures it finds.")
        for class_name, precision, recall in zip(CLASS_NAMES, *report.by_class, strict=True):
            click.echo(f"  {class_name:<12}precision {share(precision):>7}  recall {share(recall):>7}")
    if report.calibration_error is not None:
        _head("Percentages", "Of the answers given with 80 %, about 80 % should be right.")
        before = report.calibration_error_before
        raw = f"; as the network gives them, {100 * before:.1f}" if before is not None else ""
        click.echo(f"  Mean gap between percentage and truth: {100 * report.calibration_error:.1f} points{raw}.")
    if report.set_levels:
        _head("Answer sets", "Every class that can't be ruled out; the truth is among them as often as promised.")
        for n, level in report.set_levels.items():
            held = "" if level.coverage is None else f"  held {share(level.coverage)}"
            size = "" if level.mean_size is None else f"  {level.mean_size:.2f} classes on average"
            click.echo(f"  promised {n} %{held}{size}")
    if report.scope is not None:
        _head("Out of scope", "A picture that scores too low looks like none of the ten classes.")
        if report.scope.false_alarms is not None:
            click.echo(f"  Flagged by mistake: {share(report.scope.false_alarms)} of the test pictures.")
        for probe, found in report.scope.probes.items():
            if found.flagged is not None:
                click.echo(f"  Flagged of {probe}: {share(found.flagged)}.")
    if report.explanation:
        why = report.explanation
        _head("Reasons", "Hiding the marked fifth of a picture should cost the answer more than hiding a random fifth.")
        click.echo(f"  Marked: {100 * why.drop_marked:.0f} points lost. Random: {100 * why.drop_random:.0f}.")
    if not (report.set_levels and report.scope) and not report.is_epoch and not report.is_imported:
        click.echo(f"\nSome of this was never measured. With CIFAR-10 at hand: python -m cifar_model assess {name}")
    for problem in report.problems:
        click.echo(f"Warning: {problem}", err=True)


def _head(title: str, line: str) -> None:
    click.echo(f"\n{title}: {line}")
