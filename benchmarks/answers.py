"""How fast answers come: files against arrays, one picture, and ONNX Runtime on the same weights."""

import importlib.util
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np

from benchmarks._common import Table, benchmark, data_option, median_seconds, model_directory, say

BATCH = 256


@benchmark
@data_option
@click.option("--model", "models", multiple=True, default=("seed-cnn", "lab-net"), show_default=True)
@click.option("--files", type=click.IntRange(1), default=10_000, show_default=True, help="JPEG files to classify.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Of files, then arrays.")
@click.option("--repeats", type=click.IntRange(3), default=200, show_default=True, help="Of one picture.")
def main(data, models, files, rounds, repeats):
    """Answers a second from files and from arrays, milliseconds for one picture, next to ONNX Runtime.

    Small JPEG files are written from the test images; `files` decodes and answers them as `classify` does,
    `arrays` answers the same pictures already in memory. Both alternate. Wanted: files at least 0.7 of arrays,
    one picture in at most 5 ms for seed-cnn, at least 0.7 of ONNX Runtime's speed.
    """
    from cifar_model.answering.classifier import Classifier
    from cifar_model.answering.files import classify_files
    from cifar_model.data.cache import load_cifar10

    _, (test, _) = load_cifar10(data)
    pictures = np.asarray(test[np.arange(files) % len(test)])
    table = Table("Answers", ["model", "what", "pictures/s", "ms", "ratio", "of what"])
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        paths = write_files(pictures, Path(folder))
        for name in models:
            with model_directory(name) as directory:
                say(f"{name}: files and arrays")
                start = time.perf_counter()
                classifier = Classifier(directory, calibrated=False)  # ONNX Runtime has no temperature
                loading = time.perf_counter() - start
                classifier.predict(pictures[:BATCH])
                from_files, from_arrays, unread = [], [], 0
                for _ in range(rounds):
                    start = time.perf_counter()
                    unread += sum(answer.error is not None for answer in classify_files(classifier, paths))
                    middle = time.perf_counter()
                    classifier.predict(pictures)
                    end = time.perf_counter()
                    from_files.append(files / (middle - start))
                    from_arrays.append(files / (end - middle))
                share = float(np.median(np.divide(from_files, from_arrays)))
                table.add(name, f"{files:,} files", float(np.median(from_files)), None, share, "arrays")
                table.add(name, f"{files:,} in arrays", float(np.median(from_arrays)), None, 1.0, "arrays")
                if unread:
                    table.notes.append(f"{name}: {unread} files could not be read.")
                say(f"{name}: one picture and batches")
                compare(table, name, classifier, directory, pictures, repeats)
                table.notes.append(f"{name}: loaded in {loading:.2f} s (with TensorFlow's import for the first model).")
    table.notes.append(
        f"Files and arrays: medians of {rounds} alternating rounds. Ratios above 1 are in the product's favour. "
        "lab-net answers for a picture and its mirror image, in ONNX Runtime too."
    )
    if missing := missing_for_onnx():
        table.notes.append(f"Without ONNX Runtime: {' and '.join(missing)} not installed.")
    return table


def write_files(pictures: np.ndarray, folder: Path) -> list[Path]:
    """One small JPEG file a picture."""
    from PIL import Image

    paths = [folder / f"{number:05d}.jpg" for number in range(len(pictures))]

    def write(job):
        Image.fromarray(job[1]).save(job[0], quality=90)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, zip(paths, pictures, strict=True)))
    return paths


def missing_for_onnx() -> list[str]:
    return [name for name in ("onnxruntime", "tf2onnx") if importlib.util.find_spec(name) is None]


def compare(table: Table, name: str, classifier, directory, pictures: np.ndarray, repeats: int) -> None:
    """One picture and a batch, by the product and by ONNX Runtime, in alternating blocks."""
    other = None if missing_for_onnx() else onnx_session(directory)
    rng = np.random.default_rng(0)
    one, batch = pictures[rng.integers(len(pictures), size=1)], pictures[rng.integers(len(pictures), size=BATCH)]
    if other is not None:
        difference = float(np.abs(other(batch) - classifier.predict(batch, batch_size=BATCH)).max())
        table.notes.append(f"{name}: largest difference from ONNX Runtime's probabilities {difference:.1e}.")
    for what, images, count in (("one picture", one, repeats), (f"batch of {BATCH}", batch, max(3, repeats // 10))):
        ours, theirs = [], []
        for _ in range(3):
            ours.append(
                median_seconds(lambda x=images: classifier.predict(x, batch_size=BATCH), repeats=-(-count // 3))
            )
            if other is not None:
                theirs.append(median_seconds(lambda x=images: other(x), repeats=-(-count // 3)))
        seconds = float(np.median(ours))
        ratio = float(np.median(np.divide(theirs, ours))) if theirs else None
        table.add(name, what, len(images) / seconds, 1000 * seconds, ratio, "ONNX Runtime" if theirs else "–")
        if theirs:
            seconds = float(np.median(theirs))
            table.add(name, f"{what}, ONNX Runtime", len(images) / seconds, 1000 * seconds, 1.0, "itself")


def onnx_session(directory):
    """The model of `directory` in ONNX Runtime: uint8 (n, 32, 32, 3) to float32 (n, 10)."""
    import onnxruntime

    from cifar_model.models.exporting.formats import write_onnx
    from cifar_model.models.network import load_network

    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(load_network(directory), file)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images.astype(np.float32)})[0]


if __name__ == "__main__":
    main()
