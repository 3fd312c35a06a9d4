"""Models in and out, for the app: an upload becomes a model, a model becomes a zip file."""

import io
import tempfile
import zipfile
from pathlib import Path

from cifar_model.answering.export import export_classifier
from cifar_model.data.find import is_available
from cifar_model.errors import ModelError
from cifar_model.models.importing import inspect
from cifar_model.models.importing.bring import import_model
from cifar_model.runs.names import check_name
from cifar_model.storage import runs_dir
from cifar_model.trust.score import score_model

LARGEST_UPLOAD = 20 * 2**20  # bytes; server.maxUploadSize in .streamlit/config.toml
UPLOADS = (inspect.KERAS, inspect.HDF5, inspect.WEIGHTS)


def bring(content: bytes, file: str, name: str, pixels: str | None, classes: str | None) -> dict:
    """Make a model of an uploaded ``.keras`` or ``.h5`` file, and score it where CIFAR-10 is at hand: its card.

    Raises SettingsError and ModelError as `importing.bring.import_model`.
    """
    check_name(name)
    if len(content) > LARGEST_UPLOAD:
        raise ModelError(
            f"{file} has {len(content) / 2**20:.0f} MB; uploads may have {LARGEST_UPLOAD // 2**20}. For larger ones: "
            "python -m cifar_model import PATH"
        )
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        path = Path(folder) / (Path(file).name or "model")
        path.write_bytes(content)
        if inspect.kind_of(path) not in UPLOADS:
            raise ModelError(
                f"{file} is no .keras or .h5 file of Keras. Other formats are brought in by whoever runs the app: "
                "python -m cifar_model import PATH"
            )
        card = import_model(path, runs_dir() / name, pixels=pixels, classes=classes)
    return score_model(runs_dir() / name) if is_available() else card


def take(model: Path, name: str, to: str, calibrated: bool) -> tuple[bytes, dict]:
    """A model in a format of `exporting.formats.FORMATS` as a zip file, and what its check.json holds.

    Raises ModelError as `exporting.export.export_model`.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        out = Path(folder) / f"{name.replace('@', '-')}-{to}"
        _, check = export_classifier(model, to, out, calibrated=calibrated, name=name)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(out.rglob("*")):
                archive.write(file, Path(out.name) / file.relative_to(out))
    return packed.getvalue(), check
