"""Open the shipped networks in other versions of Keras: ``python -m tests.keras_versions 3.5.0 3.12.0``.

Each version is installed into a temporary virtual environment, with the newest TensorFlow that goes with it, and asked
about the sample photographs. It has to answer what the network answers here. A version may also be the Python of an
environment that has one: ``python -m tests.keras_versions path/to/python``. Without arguments: 3.5, 3.6, … 3.15.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import click
import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.models.layout import MODEL_FILE
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir

VERSIONS = tuple(f"3.{minor}.0" for minor in range(5, 16))
TOLERANCE = 1e-5  # of a probability: what rounding does to it
FILES = sorted((assets_dir() / "models").glob(f"*/{MODEL_FILE}"))
ASK = """
import json, sys
import keras, numpy as np
images, *files = sys.argv[1:]
answers = []
for file in files:
    try:
        network = keras.models.load_model(file, compile=False)
        answers.append(network.predict(np.load(images), verbose=0).tolist())
    except Exception as error:
        answers.append(str(error).splitlines()[-1])
print("ANSWERS", json.dumps([keras.__version__, keras.backend.backend(), answers]))
"""


class NoAnswer(Exception):
    """A version that can't be installed, or can't read a file: the last words of the process."""


def run(*command: str | Path) -> str:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment.pop("PYTHONPATH", None)  # its packages are those of this Python
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    if done.returncode:
        raise NoAnswer((done.stderr or done.stdout).strip()[-1500:])
    return done.stdout


def install(version: str, folder: Path) -> Path:
    """Make a virtual environment with that version of Keras; return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(python, "-m", "pip", "install", "--quiet", f"keras=={version}", "tensorflow")
    return python


def ask(python: str | Path, images: Path) -> tuple[str, list]:
    """Version and backend of the Keras behind `python`; a file each, its answers [n][10], or why it can't be read."""
    text = run(python, "-c", ASK, images, *FILES)
    version, backend, answers = json.loads(text.split("ANSWERS")[1])
    return f"Keras {version} ({backend})", answers


@click.command()
@click.argument("versions", nargs=-1)
def main(versions):
    """Compare the answers of other versions of Keras with those of this one."""
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        images = Path(temporary) / "images.npy"
        np.save(images, np.stack([load_image(assets_dir() / "samples" / f"{name}.webp") for name in CLASS_NAMES]))
        here, expected = ask(sys.executable, images)
        click.echo(f"{here} here")
        for wanted in versions or VERSIONS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    python = wanted if Path(wanted).is_file() else install(wanted, Path(folder))
                    there, answers = ask(python, images)
                except NoAnswer as error:
                    there, answers = f"Keras {wanted}", [str(error)] * len(FILES)
            for file, answer, known in zip(FILES, answers, expected, strict=True):
                if isinstance(answer, str):
                    said, good = answer, False
                else:
                    largest = np.abs(np.array(answer) - known).max()
                    said, good = f"answers differ by at most {largest:.1e}", largest <= TOLERANCE
                click.echo(f"{there}, {file.parent.name}: {said}")
                if not good:
                    failed.append(f"{file.parent.name} in {there}")
    if failed:
        sys.exit(f"Other answers, or none: {', '.join(failed)}")


if __name__ == "__main__":
    main()
