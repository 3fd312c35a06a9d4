"""A classifier for other programs: exported with the answers that it gives here to compare with."""

import os
from pathlib import Path

from cifar_model.answering.classifier import Classifier
from cifar_model.answering.engines import KERAS
from cifar_model.errors import ModelError
from cifar_model.models.exporting.export import export_model


def export_classifier(
    model: str | os.PathLike,
    to: str,
    out: Path | None = None,
    *,
    calibrated: bool = False,
    name: str | None = None,
    data: str | None = None,
) -> tuple[Path, dict]:
    """Write a model in a format of `exporting.formats.FORMATS` into a folder.

    Parameters
    ----------
    model : as for `Classifier`
    out : the folder; None: MODEL-FORMAT, in the working directory
    calibrated : make the calibration in its card a part of the network
    name : what to call it; None: as `Classifier` does
    data : CIFAR-10's folder or archive, for the comparison; None: wherever it is found

    Returns
    -------
    The folder, and what its check.json holds. Raises ModelError as `exporting.export.export_model`, and where there is
    no calibration.
    """
    classifier = Classifier(model, calibrated=calibrated, engine=KERAS)  # what was trained is the measure
    if calibrated and not classifier.calibration:
        raise ModelError(f"The model {classifier.name} has no calibration. Leave out --calibrated.")
    out = out or Path(f"{classifier.name.replace('@', '-')}-{to}")
    check = export_model(
        classifier.path,
        to,
        out,
        reference=classifier.predict,
        calibration=classifier.calibration,
        name=name or classifier.name,
        data=data,
    )
    return out, check
