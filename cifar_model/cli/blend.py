"""`blend`: mix two pictures and see what a model makes of it."""

import json
from pathlib import Path

import click
import numpy as np

from cifar_model.answering.classifier import Classifier
from cifar_model.charts.sheets import check_sheet_path, save_sheet
from cifar_model.classes import CLASS_NAMES
from cifar_model.cli.options import (
    Share,
    check_fitted,
    file_path,
    json_option,
    keep_compiled,
    model_option,
    raw_option,
    sets_option,
)
from cifar_model.cli.output import by_class, drawn_share, show_table, shown_path
from cifar_model.errors import ImageError, LabError
from cifar_model.pictures import mix as pictures_mix
from cifar_model.pictures.ambiguous import SURPRISES, class_pairs, mid_blends, mix_pictures, rank_mixes
from cifar_model.pictures.encode import enlarge
from cifar_model.pictures.fit import load_image
from cifar_model.pictures.mix import MODES
from cifar_model.pictures.winners import describe_sweep, winner_changes
from cifar_model.storage import assets_dir, csv_stdout
from cifar_model.text import percent, proportion
from cifar_model.trust.answer_sets import describe_set

DEFAULT_LEVEL = 95


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option("--ratio", default=0.5, show_default=True, type=Share(), help="A's share; B has the rest.")
@click.option("--mode", type=click.Choice(list(MODES)), default="average", show_default=True, help="How to mix.")
@model_option
@raw_option
@click.option("--sweep", "print_sweep", is_flag=True, help="Print all 101 ratios as CSV.")
@sets_option
@click.option("--chart", metavar="FILE", type=file_path, help="Draw the sweep: .png, .svg or .html.")
@click.option("--out", metavar="FILE.png", type=file_path, help="Save the mixed picture, enlarged 8 times.")
@click.option(
    "--ambiguous",
    type=click.Choice(list(SURPRISES)),
    is_flag=False,
    flag_value="third",
    help="Instead of A and B: blends of all pairs of sample photographs, the most surprising first: those where "
    "a third class wins, the model is unsure, or many classes can't be ruled out.",
)
@json_option
def blend(
    a: str | None,
    b: str | None,
    ratio: float,
    mode: str,
    model: str,
    raw: bool,
    print_sweep: bool,
    level: int | None,
    chart: Path | None,
    out: Path | None,
    ambiguous: str | None,
    as_json: bool,
) -> None:
    """Mix two pictures and say what a model predicts for the mix.

    A and B are picture files, or the name of a class for the sample photograph of it:

        blend cat dog --ratio 0.4      40 % cat, 60 % dog
    """
    if ambiguous:
        if a or print_sweep or chart or out:
            raise click.UsageError("--ambiguous mixes all samples: leave out A, B, --sweep, --chart and --out.")
        return _print_ambiguous(Classifier(model, calibrated=not raw), model, ambiguous, as_json)
    if not a or not b:
        raise click.UsageError("Name two pictures to mix, A and B.")
    if chart:
        from cifar_model.charts.beliefs import sweep_chart  # brings Altair
        from cifar_model.charts.save import (
            check_chart_path,  # brings Altair
            save_chart,  # brings Altair
        )

        check_chart_path(chart)
    if out:
        check_sheet_path(out)
    (first, a_name), (second, b_name) = _picture(a), _picture(b)
    mixed = pictures_mix.blend(first, second, ratio, mode=mode)
    classifier = Classifier(model, calibrated=not raw)
    check_fitted(classifier, sets=level is not None, scope=False)
    here = classifier.examine(mixed[None])
    whole = classifier.examine(pictures_mix.sweep(first, second, mode=mode))
    probabilities, sweep = here.probabilities[0], whole.probabilities
    set_here, sets = (one.members(level) if level else None for one in (here[0], whole))
    ratios = [i / (len(sweep) - 1) for i in range(len(sweep))]
    summary = describe_sweep(sweep, ratio, a_name, b_name, learned_blends=classifier.card.learned_blends)
    if chart:
        title = f"{a_name} and {b_name}, mixed by {mode}: {classifier.name}"
        save_chart(sweep_chart(sweep, names=(a_name, b_name), ratio=ratio, title=title), chart)
    if out:
        save_sheet(enlarge(mixed, 8), out)

    best = int(probabilities.argmax())
    if as_json:
        result = {
            "model": model,
            "a": a,
            "b": b,
            "ratio": ratio,
            "mode": mode,
            "class": CLASS_NAMES[best],
            "probability": float(probabilities[best]),
            "probabilities": by_class(probabilities),
            "winner_changes": [
                {"ratio": c.ratio, "before": CLASS_NAMES[c.before], "after": CLASS_NAMES[c.after]}
                for c in winner_changes(sweep)
            ],
            "summary": summary,
        }
        if level:
            result[f"set_{level}"] = _members(set_here)
        if print_sweep:
            result["sweep"] = [
                {"ratio": share, "probabilities": by_class(row)}
                | ({f"set_{level}": _members(sets[i])} if level else {})
                for i, (share, row) in enumerate(zip(ratios, sweep, strict=True))
            ]
        click.echo(json.dumps(result, indent=2))
    elif print_sweep:
        columns = ("ratio", *CLASS_NAMES, *([f"set_{level}"] if level else []))
        rows = csv_stdout(columns)
        for i, (share, row) in enumerate(zip(ratios, sweep.tolist(), strict=True)):
            rows.write((share, *row, *([" ".join(_members(sets[i]))] if level else [])))
    else:
        shares = f"{proportion(ratio)} {a_name} + {proportion(1 - ratio)} {b_name}"
        click.echo(f"{shares}, mixed by {mode}: {classifier.name}")
        order = np.argsort(-probabilities, kind="stable").tolist()
        rows = ((CLASS_NAMES[i], percent(probabilities[i]), drawn_share(float(probabilities[i]))) for i in order)
        show_table(("CLASS", "PROBABILITY", ""), rows)
        if level:
            click.echo(f"Can't be ruled out: {describe_set(set_here, level)}")
            for start, end, members in _stretches(sets):
                shares = f"{100 * ratios[start]:.0f}–{100 * ratios[end]:.0f} % {a_name}"
                click.echo(f"  {shares}: {describe_set(members, level)}")
        click.echo(summary)
    keep_compiled(classifier)


def _members(members: np.ndarray) -> list[str]:
    return [CLASS_NAMES[i] for i in np.flatnonzero(members)]


def _stretches(sets: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """First and last frame of each stretch of a sweep with one answer set; sets: bool (n, 10)."""
    starts = [0, *(np.flatnonzero((sets[1:] != sets[:-1]).any(axis=1)) + 1).tolist()]
    ends = [start - 1 for start in starts[1:]] + [len(sets) - 1]
    return [(start, end, sets[start]) for start, end in zip(starts, ends, strict=True)]


def _print_ambiguous(classifier, model: str, by: str, as_json: bool) -> None:
    """The most surprising mid-blends of the sample photographs, one a pair of classes."""
    samples = np.stack([_picture(name)[0] for name in CLASS_NAMES])
    mixes = mid_blends(class_pairs())
    parents = np.array([(mix.a, mix.b) for mix in mixes])
    found = classifier.examine(mix_pictures(samples, mixes))
    sets = found.members(DEFAULT_LEVEL)
    order = rank_mixes(found.probabilities, parents, sets=sets, by=by)
    rows = []
    for index in order:
        mix, p = mixes[index], found.probabilities[index]
        row = {"a": CLASS_NAMES[mix.a], "b": CLASS_NAMES[mix.b], "ratio": mix.ratio, "mode": mix.mode}
        row |= {"class": CLASS_NAMES[int(p.argmax())], "probability": float(p.max())}
        if sets is not None:
            row["set"] = [CLASS_NAMES[i] for i in np.flatnonzero(sets[index])]
        rows.append(row)
    if as_json:
        click.echo(json.dumps({"model": model, "by": by, "mixes": rows}, indent=2))
        return
    click.echo(f"{classifier.name}. {SURPRISES[by]}")
    show_table(
        ("MIX", "MODE", "CLASS", "PROBABILITY", "CLASSES IN THE SET"),
        (
            (
                f"{proportion(row['ratio'])} {row['a']} + {proportion(1 - row['ratio'])} {row['b']}",
                row["mode"],
                row["class"],
                percent(row["probability"]),
                str(len(row["set"])) if "set" in row else "–",
            )
            for row in rows
        ),
        left=3,
    )


def _picture(source: str) -> tuple[np.ndarray, str]:
    """Pixels and a name for a person, of a file or of a class's sample photograph."""
    if source in CLASS_NAMES and not Path(source).is_file():
        return load_image(assets_dir() / "samples" / f"{source}.webp"), source
    try:
        return load_image(source), shown_path(Path(Path(source).stem))
    except ImageError as error:
        if Path(source).exists():
            raise
        names = ", ".join(CLASS_NAMES)
        raise LabError(f"{error} The sample photographs go by: {names}.") from error
