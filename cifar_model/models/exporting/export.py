"""Write a model's folder for other programs, whole or not at all."""

import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.data.cache import load_cifar10
from cifar_model.data.find import find_source
from cifar_model.data.sources import MINI
from cifar_model.errors import DatasetError, LabError, ModelError, SettingsError
from cifar_model.models.exporting.formats import FORMATS, INSTALL, Format
from cifar_model.models.network import load_network
from cifar_model.networks.backend import import_keras
from cifar_model.networks.portable import calibrated, rebuilt
from cifar_model.pictures.fit import load_image
from cifar_model.storage import assets_dir, write_json

CHECK_FILE, NAMES_FILE, README_FILE = "check.json", "classes.txt", "README.txt"
PICTURES = 1_000  # that each exported file has to answer as the model does
LARGEST_DIFFERENCE = 1e-5
_AT_A_TIME = 100


def export_model(
    model: Path,
    to: str,
    out: Path,
    *,
    reference: Callable[[np.ndarray], np.ndarray],
    calibration: dict | None = None,
    name: str | None = None,
    data: str | None = None,
) -> dict:
    """Export a model, read what was written, compare its answers with the model's own, and put it at `out`.

    Parameters
    ----------
    model : a model directory, or a ``.keras`` file
    to : a key of `FORMATS`
    out : the folder to write; an older export there is replaced
    reference : uint8 (n, 32, 32, 3) → float32 (n, 10), what the exported files have to answer
    calibration : a card's temperature and even share, to become part of the network; None or {}: its own softmax
    name : what the model is called
    data : CIFAR-10's folder or archive, for the comparison; None: wherever it is found

    Returns
    -------
    dict
        What ``check.json`` holds: format, files, how they were compared, the largest difference.

    Raises
    ------
    SettingsError
        An unknown format, or a folder that holds other things.
    ModelError
        A network that this format can't hold, a package that is missing, or answers that differ by more than 1e-5.
    LabError
        A folder that can't be written.
    """
    if to not in FORMATS:
        raise SettingsError(f"Unknown format {to!r}. Choose one of: {', '.join(FORMATS)}.")
    form = FORMATS[to]
    calibration = {key: value for key, value in (calibration or {}).items() if key in ("temperature", "even_share")}
    if missing := form.missing():
        raise ModelError(f"{form.title} needs {' and '.join(missing)}, not installed here: {INSTALL}")
    _check_free(out)
    import_keras()
    network = _ready(load_network(model), calibration, to)
    pictures, of = check_pictures(data)
    wanted = reference(pictures)
    name = name or model.name
    temporary = out.with_name(f".{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        form.write(network, temporary)
        differences = {file: _difference(form.read(temporary / file), pictures, wanted) for file in form.files}
        check = {
            "model": name,
            "format": to,
            "calibration": calibration or None,
            "classes": list(CLASS_NAMES),
            "input": "float32 (n, 32, 32, 3), RGB, raw pixels 0 to 255",
            "output": "float32 (n, 10), probabilities in the order of the classes",
            "compared_on": of,
            "largest_difference": differences,
            "allowed_difference": LARGEST_DIFFERENCE,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        write_json(temporary / CHECK_FILE, check)
        (temporary / NAMES_FILE).write_text("\n".join(CLASS_NAMES) + "\n", encoding="utf-8")
        (temporary / README_FILE).write_text(_readme(form, check), encoding="utf-8")
        _put(temporary, out)
    except OSError as error:
        raise LabError(f"Can't write {out}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return check


def check_pictures(data: str | None = None) -> tuple[np.ndarray, str]:
    """The pictures on which exports are compared: uint8 (1000, 32, 32, 3), and what they are.

    Test images of CIFAR-10 evenly among all; without them the sample photographs, mixes of them, and noise.
    """
    try:
        if find_source(data).kind != MINI:
            _, (images, _) = load_cifar10(data)
            rows = np.linspace(0, len(images) - 1, PICTURES).astype(int)
            return np.asarray(images[rows]), f"{PICTURES:,} test images of CIFAR-10"
    except DatasetError:
        if data:
            raise
    rng = np.random.default_rng(0)
    samples = np.stack([load_image(file) for file in sorted((assets_dir() / "samples").glob("*.webp"))])
    a, b = rng.integers(len(samples), size=(2, PICTURES // 2))
    share = rng.random((PICTURES // 2, 1, 1, 1))
    mixes = np.rint(share * samples[a] + (1 - share) * samples[b]).astype(np.uint8)
    noise = rng.integers(0, 256, (PICTURES - len(mixes) - len(samples), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    of = f"{len(samples)} sample photographs, {len(mixes)} mixes of two of them, {len(noise)} pictures of noise"
    return np.concatenate([samples, mixes, noise]), of


def _ready(network, calibration: dict, to: str):
    foreign = [layer for layer in network.layers if hasattr(layer, "differentiable")]
    if foreign and not (foreign[0].differentiable and to in ("saved-model", "litert")):
        raise ModelError(
            f"This model was brought in as a {foreign[0].kind} file, and its network can't be turned into {to}. "
            "Use the file that it came from, or bring in the .keras or .h5 file that it was made of."
        )
    if calibration and to == "h5":
        raise ModelError(
            "HDF5 holds Keras's layers alone, and a calibration is more: leave it out, or choose another format."
        )
    return calibrated(rebuilt(network), **calibration) if calibration else rebuilt(network)


def _difference(answer, pictures: np.ndarray, wanted: np.ndarray) -> float:
    parts = [answer(pictures[i : i + _AT_A_TIME].astype(np.float32)) for i in range(0, len(pictures), _AT_A_TIME)]
    found = np.concatenate(parts)
    difference = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else np.inf
    if not difference <= LARGEST_DIFFERENCE:
        raise ModelError(
            f"The exported file answers differently from the model: a probability differs by {difference:.1e}, and "
            f"{LARGEST_DIFFERENCE:.0e} is allowed. Nothing was written."
        )
    return difference


def _check_free(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / CHECK_FILE).is_file():
        raise SettingsError(f"{out} holds other files already: name a new folder, or one of an older export.")
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file: name a folder.")


def _put(temporary: Path, out: Path) -> None:
    """`temporary` in the place of `out`; the older folder is whole until the new one is."""
    old = out.with_name(f".{uuid.uuid4().hex}")
    had = out.exists()
    if had:
        out.rename(old)
    try:
        temporary.rename(out)
    except OSError:
        if had:
            with suppress(OSError):
                old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def example(to: str) -> str:
    """The program in the README of an export: Python that answers ``picture.png`` in the same folder."""
    form = FORMATS[to]
    return f"""\
import numpy as np; from PIL import Image; {form.brings}
pixels = np.float32(Image.open("picture.png").convert("RGB").resize((32, 32)))[None]
probabilities = {form.asks}
names = open("{NAMES_FILE}").read().split()
print(names[probabilities.argmax()], probabilities.max())
"""


def _readme(form: Format, check: dict) -> str:
    files = "\n".join(f"  {file:<18}{what}" for file, what in form.files.items())
    own = "calibrated: of the answers given with 80 %, about 80 % are correct" if check["calibration"] else (
        "the network's own softmax, not calibrated"
    )  # fmt: skip
    worst = max(check["largest_difference"].values())
    program = "\n".join(f"    {line}".rstrip() for line in example(check["format"]).splitlines())
    return f"""\
{check["model"]} as {form.title}

{files}
  {NAMES_FILE:<18}the ten classes, in the order of the output
  {CHECK_FILE:<18}how the files were compared with the model

In:  {check["input"]}. No scaling before.
Out: {check["output"]}; {own}.
The lab crops a picture of another size to a square before it scales it down; the example only scales it.

Compared on {check["compared_on"]}: largest difference of a probability {worst:.1e}.

    # Python, beside a file picture.png:
{program}
"""
