"""`inside`: a network's first filters, what each layer finds in a picture, which training images are similar."""

import json
from pathlib import Path

import click
import numpy as np
from PIL import Image

from cifar_model.answering.activations import feature_maps, filter_pictures, first_filters, map_pictures
from cifar_model.answering.classifier import Classifier
from cifar_model.answering.neighbours import Neighbours
from cifar_model.charts.sheets import check_sheet_path, contact_sheet, save_sheet
from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.cli.options import file_path, json_option, model_option
from cifar_model.cli.output import show_table
from cifar_model.cli.progress import progress_bar
from cifar_model.models.network import load_network
from cifar_model.pictures.fit import load_image


@click.command()
@click.argument("picture", required=False, type=file_path)
@model_option
@click.option("--filters", metavar="FILE.png", type=file_path, help="Draw the patterns that the first layer looks for.")
@click.option("--maps", metavar="FILE.png", type=file_path, help="Draw what each layer finds in PICTURE.")
@click.option("--nearest", metavar="N", type=click.IntRange(1, 100), help="List the N most similar training images.")
@click.option("--sheet", metavar="FILE.png", type=file_path, help="Draw these images.")
@click.option("--data", "data_dir", metavar="DIR", help="CIFAR-10, for --nearest; default: CIFAR10_DIR.")
@json_option
def inside(
    picture: Path | None,
    model: str,
    filters: Path | None,
    maps: Path | None,
    nearest: int | None,
    sheet: Path | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Look into a network: its first filters, what its layers find in PICTURE, similar training images."""
    if not (filters or maps or nearest):
        raise click.UsageError("Say what to look at: --filters FILE.png, --maps FILE.png or --nearest N.")
    if (maps or nearest) and not picture:
        raise click.UsageError("--maps and --nearest are of a picture: name one.")
    for path in filter(None, (filters, maps, sheet)):
        check_sheet_path(path)
    pixels = load_image(picture) if picture else None
    result: dict = {"model": model}
    if filters or maps:
        classifier = Classifier(model)
        network = load_network(classifier.path)
        if filters:
            name, found = first_filters(network)
            captions = [str(i) for i in range(len(found))]
            save_sheet(contact_sheet(_enlarged(filter_pictures(found)), captions, scale=2), filters)
            result["filters"] = {"layer": name, "number": len(found), "sheet": str(filters)}
        if maps:
            drawn, captions = [], []
            for layer in feature_maps(network, pixels):
                pictures, channels = map_pictures(layer, 8)
                drawn.append(_enlarged(pictures))
                captions += [f"{layer.layer}\nmap {channel}" for channel in channels]
            save_sheet(contact_sheet(np.concatenate(drawn), captions, columns=8), maps)
            result["maps"] = {"layers": len(drawn), "sheet": str(maps)}
    if nearest:
        neighbours = Neighbours(Classifier(model), data_dir)
        with progress_bar(len(neighbours.labels)) as bar:
            for done in neighbours.prepare():
                bar.reach(done)
        numbers, distances = neighbours.nearest(pixels[None], nearest)
        labels = neighbours.labels[numbers[0]]
        result["nearest"] = [
            {"number": int(n), "class": CLASS_NAMES[label], "distance": float(d)}
            for n, label, d in zip(numbers[0], labels, distances[0], strict=True)
        ]
        if sheet:
            captions = [f"{CLASS_NAMES[label]}\n{d:.3f}" for label, d in zip(labels, distances[0], strict=True)]
            save_sheet(contact_sheet(np.asarray(neighbours.images[numbers[0]]), captions), sheet)
    if as_json:
        return click.echo(json.dumps(result, indent=2))
    if filters:
        click.echo(f"The {result['filters']['number']} filters of {result['filters']['layer']}: {filters}")
    if maps:
        click.echo(f"The strongest maps of {result['maps']['layers']} layers: {maps}")
    if found := result.get("nearest"):
        rows = ((row["class"], f"{row['number']:,}", f"{row['distance']:.3f}") for row in found)
        show_table(("CLASS", "TRAINING IMAGE", "DISTANCE"), rows)
    return None


def _enlarged(pictures: np.ndarray) -> np.ndarray:
    """uint8 (n, h, w, 3) → (n, 32, 32, 3), without smoothing."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.NEAREST)) for one in pictures])
