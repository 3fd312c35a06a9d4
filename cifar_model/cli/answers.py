"""`classify`, `evaluate` and `blend`: a trained model's answers on the command line."""

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click
import numpy as np

from cifar_model.blending import MODES
from cifar_model.classes import CLASS_NAMES
from cifar_model.conformal import LEVELS, answer_sets, describe_set, evaluate_sets
from cifar_model.errors import ImageError, LabError, ModelError, SettingsError
from cifar_model.files import replacing
from cifar_model.images import IMAGE_SUFFIXES, enlarge, find_images, load_image
from cifar_model.models import assets_dir
from cifar_model.surprise import SURPRISES

SHEET_LIMIT = 1_000  # pictures on one sheet: some 25 megapixels

_model_option = click.option(
    "--model", default="lab-net", show_default=True, help="A bundled model, a run, RUN@EPOCH or a folder."
)
_raw_option = click.option("--raw", is_flag=True, help="The network's own percentages, uncorrected.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
_file = click.Path(path_type=Path)
_sets_option = click.option(
    "--sets",
    "level",
    metavar="[90|95|99]",
    is_flag=False,
    flag_value="95",
    help="Name all classes that can't be ruled out; the right one is among them in so many of 100 pictures [95].",
)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, type=_file)
@_model_option
@_raw_option
@click.option("--top", default=3, show_default=True, type=click.IntRange(1, 10), help="Classes in the table.")
@_json_option
@click.option(
    "--csv",
    "csv_file",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    help="Write CSV with all ten probabilities to FILE, or print it.",
)
@click.option("--sheet", metavar="FILE.png", type=_file, help="Draw the pictures with their answers.")
@_sets_option
@click.option("--scope", "with_scope", is_flag=True, help='Say whether a picture looks like "none of the ten".')
@click.option("--explain", metavar="DIR", type=_file, help="Draw for each picture where the evidence lies, into DIR.")
def classify(
    paths: tuple[Path, ...],
    model: str,
    raw: bool,
    top: int,
    as_json: bool,
    csv_file: str | None,
    sheet: Path | None,
    level: str | None,
    with_scope: bool,
    explain: Path | None,
) -> None:
    """Say what is in pictures: files, or folders with all that lies below them.

    Files that can't be read are named at the end and make the exit code 1; all others are answered.
    """
    from cifar_model import figures
    from cifar_model.classifier import Classifier, classify_files

    if csv_file not in (None, "-") and (Path(csv_file).is_dir() or csv_file.lower().endswith(IMAGE_SUFFIXES)):
        # `--csv photos/` was meant as `photos/ --csv`; never write CSV over a picture.
        paths, csv_file = (*paths, Path(csv_file)), "-"
    if level not in (None, *_LEVELS) and Path(level).exists():
        paths, level = (*paths, Path(level)), "95"  # `--sets photos/` was meant as `photos/ --sets`
    _check_level(level)
    if not paths:
        raise click.UsageError("Name at least one picture file or folder.")
    if as_json and csv_file == "-":
        raise SettingsError("JSON and CSV can't both be printed. Leave one out, or give --csv a file name.")
    if sheet:
        figures.check_sheet_path(sheet)

    failures: list[tuple[Path, str]] = []
    found = find_images(paths, on_error=lambda path, error: failures.append((path, str(error))))
    if not found and not failures:
        places = ", ".join(_shown(path) for path in paths)
        raise SettingsError(f"No pictures in {places}. Looked for: {', '.join(IMAGE_SUFFIXES)}.")
    classifier = Classifier(model, calibrated=not raw)
    _check_fitted(classifier, sets=level is not None, scope=with_scope)
    explanations = None
    if explain:
        from cifar_model.explain import Explanations

        explanations = Explanations(classifier, explain)

    drawn: list[np.ndarray] = []
    captions: list[str] = []
    answered = 0
    # On a terminal the table's lines are the progress; a bar would tear them.
    lines_show = sys.stdout.isatty() and csv_file is None and not as_json
    with ExitStack() as stack:
        extras = _Extras(int(level) if level else None, with_scope)
        writer = stack.enter_context(_answer_writer(model, found, top, as_json, csv_file, extras))
        bar = stack.enter_context(_progress(len(found), hidden=lines_show))
        for answer in classify_files(classifier, found, level=int(level or 95)):
            bar.update(1)
            if answer.error:
                failures.append((answer.path, answer.error))
                continue
            answered += 1
            writer.add(answer)
            if explanations:
                explanations.add(answer.path, answer.pixels, answer.probabilities)
            if sheet and answered <= SHEET_LIMIT:
                best = int(answer.probabilities.argmax())
                drawn.append(answer.pixels)
                captions.append(
                    f"{answer.path.name}\n{CLASS_NAMES[best]} {figures.percent(answer.probabilities[best])}"
                )
        writer.finish(failures)

    if sheet and drawn:
        figures.save_sheet(figures.contact_sheet(np.stack(drawn), captions), sheet)
        if answered > SHEET_LIMIT:
            click.echo(f"{_shown(sheet)} shows the first {SHEET_LIMIT:,} pictures.", err=True)
    if failures:
        click.echo(f"Answered: {answered:,}. Could not be read: {len(failures):,}", err=True)
        for _, reason in failures:
            click.echo(f"  {reason}", err=True)
        raise click.exceptions.Exit(1)


_LEVELS = tuple(map(str, LEVELS))


def _check_level(level: str | None) -> None:
    if level not in (None, *_LEVELS):
        raise SettingsError(f"Answer sets can be had at 90, 95 and 99 %. Received: --sets {level}.")


def _check_fitted(classifier, *, sets: bool, scope: bool) -> None:
    """ModelError where a model lacks what is asked for."""
    missing = ["answer sets"] * (sets and not classifier.sets) + ["scope score"] * (scope and not classifier.scope)
    if missing:
        raise ModelError(
            f"The model {classifier.name} has no {' and no '.join(missing)}. With CIFAR-10 at hand, a whole run gets "
            f"them by `python -m cifar_model assess {classifier.name}`."
        )


@dataclass(frozen=True)
class _Extras:
    """What was asked for beyond probabilities: answer sets at a level, and whether a picture is in scope."""

    level: int | None
    scope: bool

    def columns(self, answer) -> dict:
        """Name and value of each, for machines."""
        values = {}
        if self.level:
            values[f"set_{self.level}"] = [CLASS_NAMES[i] for i in np.flatnonzero(answer.members)]
        if self.scope:
            values |= {"scope": answer.scope, "in_scope": answer.in_scope}
        return values

    def names(self) -> list[str]:
        return [f"set_{self.level}"] * bool(self.level) + ["scope", "in_scope"] * self.scope

    def words(self, answer) -> str:
        """For a person."""
        said = [describe_set(answer.members, self.level)] if self.level else []
        if self.scope and not answer.in_scope:
            said.append("looks like none of the ten")
        return "; ".join(said)


@contextmanager
def _answer_writer(model: str, paths: list[Path], top: int, as_json: bool, csv_file: str | None, extras: "_Extras"):
    """Where answers go, one at a time: JSON or a table to stdout, CSV to a file or to stdout."""
    with ExitStack() as stack:
        writers = []
        if csv_file == "-":
            writers.append(_CsvWriter(sys.stdout, extras))
        elif csv_file:
            temporary = stack.enter_context(replacing(csv_file))
            file = stack.enter_context(open(temporary, "w", encoding="utf-8", newline=""))
            writers.append(_CsvWriter(file, extras))
        if as_json:
            writers.append(_JsonWriter(model, extras))
        elif csv_file != "-":
            writers.append(_TableWriter(paths, top, extras))
        yield _Writers(writers)


class _Writers:
    def __init__(self, writers):
        self._writers = writers

    def add(self, answer) -> None:
        for writer in self._writers:
            writer.add(answer)

    def finish(self, failures) -> None:
        for writer in self._writers:
            writer.finish(failures)


class _CsvWriter:
    def __init__(self, file: TextIO, extras: _Extras):
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(("file", "class", "probability", *CLASS_NAMES, *extras.names()))
        self._extras = extras

    def add(self, answer) -> None:
        p = answer.probabilities.tolist()
        best = int(answer.probabilities.argmax())
        extras = [" ".join(v) if isinstance(v, list) else v for v in self._extras.columns(answer).values()]
        self._rows.writerow((_text(answer.path), CLASS_NAMES[best], p[best], *p, *extras))

    def finish(self, failures) -> None:
        pass


class _JsonWriter:
    """One object, written as the answers come so that memory does not grow with them."""

    def __init__(self, model: str, extras: _Extras):
        self._extras = extras
        click.echo(f'{{"model": {json.dumps(model)},\n"answers": [', nl=False)
        self._separator = "\n"

    def add(self, answer) -> None:
        best = int(answer.probabilities.argmax())
        text = json.dumps({
            "file": str(answer.path),
            "class": CLASS_NAMES[best],
            "probability": float(answer.probabilities[best]),
            "probabilities": _by_class(answer.probabilities),
            **self._extras.columns(answer),
        })
        click.echo(self._separator + text, nl=False)
        self._separator = ",\n"

    def finish(self, failures) -> None:
        errors = [{"file": str(path), "error": reason} for path, reason in failures]
        click.echo(f'\n],\n"errors": {json.dumps(errors)}}}')


class _TableWriter:
    def __init__(self, paths: list[Path], top: int, extras: _Extras):
        self._extras = extras
        names = [_shown(path) for path in paths]
        limit = max(20, shutil.get_terminal_size((100, 24)).columns - 24 - 20 * (top - 1))
        self._width = min(max(map(len, names), default=4), limit)
        self._top = top
        self._has_header = False

    def add(self, answer) -> None:
        from cifar_model.figures import percent

        if not self._has_header:
            title = "RUNNERS-UP" if self._top > 1 else ""
            click.echo(f"{'FILE':<{self._width}}  {'CLASS':<10}  {'PROBABILITY':>11}  {title}".rstrip())
            self._has_header = True
        name = _shown(answer.path)
        if len(name) > self._width:
            name = "…" + name[1 - self._width :]
        first, *others = np.argsort(-answer.probabilities, kind="stable")[: self._top]
        runners = ", ".join(f"{CLASS_NAMES[i]} {percent(answer.probabilities[i])}" for i in others)
        belief = percent(answer.probabilities[first])
        line = f"{name:<{self._width}}  {CLASS_NAMES[first]:<10}  {belief:>11}  {runners}"
        if words := self._extras.words(answer):
            line = f"{line:<{self._width + 25 + 20 * (self._top - 1)}}  {words}"
        click.echo(line.rstrip())

    def finish(self, failures) -> None:
        pass


def _text(path: Path) -> str:
    """A path as valid text: bytes of a file name that are none become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def _shown(path: Path) -> str:
    """A path on one line that can't control the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in _text(path))


@contextmanager
def _progress(length: int, *, hidden: bool = False) -> Iterator:
    hidden = hidden or not sys.stderr.isatty()
    with click.progressbar(length=length, file=sys.stderr, show_pos=True, hidden=hidden) as bar:
        yield bar


def _by_class(values) -> dict[str, float]:
    return dict(zip(CLASS_NAMES, np.asarray(values).tolist(), strict=True))


@click.command()
@_model_option
@_raw_option
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10's folder or archive; default: CIFAR10_DIR.")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True)
@click.option("--limit", metavar="N", type=click.IntRange(1), help="The first N pictures only.")
@click.option("--chart", metavar="FILE", type=_file, help="Draw the confusion matrix: .png, .svg or .html.")
@click.option("--calibration", is_flag=True, help="How sure it was, how often right, and what its answer sets hold.")
@click.option("--scope", "with_scope", is_flag=True, help='How many it takes for "none of the ten" by mistake.')
@_json_option
def evaluate(
    model: str,
    raw: bool,
    data_dir: str | None,
    split: str,
    limit: int | None,
    chart: Path | None,
    calibration: bool,
    with_scope: bool,
    as_json: bool,
) -> None:
    """Score a model on CIFAR-10: accuracy, loss, precision and recall of each class, confusion matrix."""
    from cifar_model import figures, metrics
    from cifar_model.classifier import BATCH_SIZE, Classifier
    from cifar_model.dataset import load_cifar10

    if chart:
        figures.check_chart_path(chart)
    train, test = load_cifar10(data_dir)
    images, labels = (array[:limit] for array in (test if split == "test" else train))
    classifier = Classifier(model, calibrated=not raw)
    _check_fitted(classifier, sets=False, scope=with_scope)
    found = []
    with _progress(len(images)) as bar:
        for start in range(0, len(images), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            found.append(classifier.examine(images[part]))
            bar.update(len(images[part]))
    probabilities = np.concatenate([part.probabilities for part in found])
    answers = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(labels, answers)
    precision, recall = metrics.precision_recall(confusion)
    result = {
        "model": model,
        "split": split,
        "images": len(images),
        "accuracy": float(metrics.accuracy_score(labels, answers)),
        "loss": float(metrics.cross_entropy_loss(labels, probabilities)),
        "calibration_error": float(metrics.expected_calibration_error(labels, probabilities)),
        "classes": {
            name: {
                "precision": _number(precision[i]),
                "recall": _number(recall[i]),
                "images": int(confusion[i].sum()),
            }
            for i, name in enumerate(CLASS_NAMES)
        },
        "confusion": confusion.tolist(),
    }
    if calibration:
        result["reliability"] = metrics.reliability_bins(labels, probabilities).tolist()
        if classifier.sets:
            fitted = metrics.calibrate(np.concatenate([part.raw for part in found]), classifier.card["calibration"])
            result["sets"] = {
                str(level): evaluate_sets(labels, answer_sets(fitted, classifier.sets, level)) for level in LEVELS
            }
    if with_scope:
        result["false_alarms"] = float(1 - np.concatenate([part.in_scope for part in found]).mean())
    title = f"{classifier.name} on {len(images):,} {split} images"
    if chart:
        figures.save_chart(figures.confusion_chart(confusion, title=title), chart)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(title)
    click.echo(f"accuracy           {100 * result['accuracy']:.2f} %")
    click.echo(f"loss               {result['loss']:.4f} nats")
    click.echo(f"calibration error  {100 * result['calibration_error']:.2f} % (expected, 15 bins)")
    click.echo(f"\n{'CLASS':<12}{'PRECISION':>10}{'RECALL':>10}{'IMAGES':>8}")
    for name, row in result["classes"].items():
        cells = ("–" if row[key] is None else f"{100 * row[key]:.1f} %" for key in ("precision", "recall"))
        click.echo(f"{name:<12}{''.join(f'{cell:>10}' for cell in cells)}{row['images']:>8,}")
    if calibration:
        click.echo(f"\n{'HOW SURE':<12}{'RIGHT':>10}{'GAP':>10}{'IMAGES':>8}")
        for confidence, right, count in result["reliability"]:
            cells = f"{100 * confidence:.1f} %", f"{100 * right:.1f} %", f"{100 * (confidence - right):+.1f}"
            click.echo(f"{cells[0]:<12}{cells[1]:>10}{cells[2]:>10}{count:>8,.0f}")
        for level, sets in result.get("sets", {}).items():
            click.echo(
                f"answer sets at {level} %: hold the right class for {100 * sets['coverage']:.2f} %, "
                f"{sets['mean_size']:.2f} classes on average, {sets['sizes'][0]:,} of them empty"
            )
    if with_scope:
        click.echo(f"\nnone of the ten: {100 * result['false_alarms']:.2f} % flagged by mistake")
    width = max(6, len(str(confusion.max())) + 2)
    click.echo("\nConfusion matrix: rows are the truth, columns the answer")
    click.echo(" " * 12 + "".join(f"{name[: width - 1]:>{width}}" for name in CLASS_NAMES))
    for name, row in zip(CLASS_NAMES, confusion, strict=True):
        click.echo(f"{name:<12}" + "".join(f"{count:>{width}}" for count in row))


def _number(value: float) -> float | None:
    """JSON has no NaN: a precision or recall that is undefined becomes null."""
    return float(value) if np.isfinite(value) else None


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.option(
    "--ratio", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="A's share; B has the rest."
)
@click.option(
    "--mode", type=click.Choice(list(MODES)), default="average", show_default=True, help="How to mix."
)
@_model_option
@_raw_option
@click.option("--sweep", "print_sweep", is_flag=True, help="Print all 101 ratios as CSV.")
@_sets_option
@click.option("--chart", metavar="FILE", type=_file, help="Draw the sweep: .png, .svg or .html.")
@click.option("--out", metavar="FILE.png", type=_file, help="Save the mixed picture, enlarged 8 times.")
@click.option(
    "--ambiguous",
    type=click.Choice(list(SURPRISES)),
    is_flag=False,
    flag_value="third",
    help="In place of A and B: mid-blends of all pairs of sample photographs, the most surprising first, "
    "because a third class wins, the model is unsure, or many answers are possible.",
)
@_json_option
def blend(
    a: str | None,
    b: str | None,
    ratio: float,
    mode: str,
    model: str,
    raw: bool,
    print_sweep: bool,
    level: str | None,
    chart: Path | None,
    out: Path | None,
    ambiguous: str | None,
    as_json: bool,
) -> None:
    """Mix two pictures and say what a model sees in the mix.

    A and B are picture files, or the name of a class for the sample photograph of it:

        blend cat dog --ratio 0.4      40 % cat, 60 % dog
    """
    from cifar_model import blending, figures
    from cifar_model.classifier import Classifier

    if ambiguous:
        if a or print_sweep or chart or out:
            raise click.UsageError("--ambiguous mixes all samples: leave out A, B, --sweep, --chart and --out.")
        return _print_ambiguous(Classifier(model, calibrated=not raw), model, ambiguous, as_json)
    if not a or not b:
        raise click.UsageError("Name two pictures to mix, A and B.")
    _check_level(level)
    if chart:
        figures.check_chart_path(chart)
    if out:
        figures.check_sheet_path(out)
    (first, a_name), (second, b_name) = _picture(a), _picture(b)
    mixed = blending.blend(first, second, ratio, mode=mode)
    classifier = Classifier(model, calibrated=not raw)
    _check_fitted(classifier, sets=level is not None, scope=False)
    here = classifier.examine(mixed[None], level=int(level or 95))
    whole = classifier.examine(blending.sweep(first, second, mode=mode), level=int(level or 95))
    probabilities, sweep = here.probabilities[0], whole.probabilities
    ratios = [i / (len(sweep) - 1) for i in range(len(sweep))]
    summary = blending.describe_sweep(sweep, ratio, a_name, b_name)
    if chart:
        title = f"{a_name} and {b_name}, mixed by {mode}: {classifier.name}"
        figures.save_chart(
            figures.sweep_chart(sweep, names=(a_name, b_name), ratio=ratio, title=title), chart
        )
    if out:
        figures.save_sheet(enlarge(mixed, 8), out)

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
            "probabilities": _by_class(probabilities),
            "winner_changes": [
                {"ratio": c.ratio, "before": CLASS_NAMES[c.before], "after": CLASS_NAMES[c.after]}
                for c in blending.winner_changes(sweep)
            ],
            "summary": summary,
        }
        if level:
            result[f"set_{level}"] = _members(here.sets[0])
        if print_sweep:
            result["sweep"] = [
                {"ratio": share, "probabilities": _by_class(row)}
                | ({f"set_{level}": _members(whole.sets[i])} if level else {})
                for i, (share, row) in enumerate(zip(ratios, sweep, strict=True))
            ]
        click.echo(json.dumps(result, indent=2))
    elif print_sweep:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(("ratio", *CLASS_NAMES, *([f"set_{level}"] if level else [])))
        for i, (share, row) in enumerate(zip(ratios, sweep.tolist(), strict=True)):
            rows.writerow((share, *row, *([" ".join(_members(whole.sets[i]))] if level else [])))
    else:
        shares = f"{100 * ratio:.4g} % {a_name} + {100 * (1 - ratio):.4g} % {b_name}"
        click.echo(f"{shares}, mixed by {mode}: {classifier.name}")
        for i in np.argsort(-probabilities, kind="stable"):
            bar = "█" * round(30 * float(probabilities[i]))
            click.echo(f"  {CLASS_NAMES[i]:<10}  {figures.percent(probabilities[i]):>7}  {bar}".rstrip())
        if level:
            click.echo(f"Can't be ruled out: {describe_set(here.sets[0], int(level))}")
            for start, end, members in _stretches(whole.sets):
                shares = f"{100 * ratios[start]:.0f}–{100 * ratios[end]:.0f} % {a_name}"
                click.echo(f"  {shares}: {describe_set(members, int(level))}")
        click.echo(summary)


def _members(members: np.ndarray) -> list[str]:
    return [CLASS_NAMES[i] for i in np.flatnonzero(members)]


def _stretches(sets: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """First and last frame of each stretch of a sweep with one answer set; sets: bool (n, 10)."""
    starts = [0, *(np.flatnonzero((sets[1:] != sets[:-1]).any(axis=1)) + 1).tolist()]
    ends = [start - 1 for start in starts[1:]] + [len(sets) - 1]
    return [(start, end, sets[start]) for start, end in zip(starts, ends, strict=True)]


def _print_ambiguous(classifier, model: str, by: str, as_json: bool) -> None:
    """The most surprising mid-blends of the sample photographs, one a pair of classes."""
    from cifar_model import figures, surprise

    samples = np.stack([_picture(name)[0] for name in CLASS_NAMES])
    mixes = surprise.mid_blends(surprise.class_pairs())
    parents = np.array([(mix.a, mix.b) for mix in mixes])
    found = classifier.examine(surprise.mix_pictures(samples, mixes))
    order = surprise.rank_mixes(found.probabilities, parents, sets=found.sets, by=by)
    rows = []
    for index in order:
        mix, p = mixes[index], found.probabilities[index]
        row = {"a": CLASS_NAMES[mix.a], "b": CLASS_NAMES[mix.b], "ratio": mix.ratio, "mode": mix.mode}
        row |= {"class": CLASS_NAMES[int(p.argmax())], "probability": float(p.max())}
        if found.sets is not None:
            row["set"] = [CLASS_NAMES[i] for i in np.flatnonzero(found.sets[index])]
        rows.append(row)
    if as_json:
        click.echo(json.dumps({"model": model, "by": by, "mixes": rows}, indent=2))
        return
    click.echo(f"{classifier.name}. {SURPRISES[by]}")
    for row in rows:
        recipe = f"{100 * row['ratio']:.0f} % {row['a']} + {100 - 100 * row['ratio']:.0f} % {row['b']}, {row['mode']}"
        members = f"  {len(row['set'])} answers possible" if "set" in row else ""
        click.echo(f"{recipe:<46}  {row['class']:<10} {figures.percent(row['probability']):>7}{members}")


def _picture(source: str) -> tuple[np.ndarray, str]:
    """Pixels and a name for a person, of a file or of a class's sample photograph."""
    if source in CLASS_NAMES and not Path(source).is_file():
        return load_image(assets_dir() / "samples" / f"{source}.webp"), source
    try:
        return load_image(source), _shown(Path(Path(source).stem))
    except ImageError as error:
        if Path(source).exists():
            raise
        names = ", ".join(CLASS_NAMES)
        raise LabError(f"{error} The sample photographs go by: {names}.") from error
