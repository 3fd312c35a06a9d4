"""Pictures explained and drawn: one in memory, or many into a folder."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cifar_model.charts.heat import INK, PAPER, overlay
from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import LabError
from cifar_model.pictures.encode import enlarge
from cifar_model.storage import replacing
from cifar_model.text import percent

if TYPE_CHECKING:
    from cifar_model.answering.classifier import Classifier


def explain_picture(
    classifier: "Classifier", pixels: np.ndarray, class_index: int, *, scale: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """One picture explained and drawn.

    Parameters
    ----------
    pixels : uint8 (32, 32, 3)
    class_index : 0–9, the class to look for

    Returns
    -------
    overlay : uint8 (height, width, 3), the picture with the evidence over it and a legend below (`overlay`)
    heat : float32 (32, 32), 0–1 (`Explainer.explain`)
    """
    heat = classifier.explain(np.asarray(pixels)[None], np.array([class_index]))[0]
    return np.asarray(overlay(pixels, heat, scale=scale, class_name=CLASS_NAMES[class_index])), heat


class Explanations:
    """Writes one PNG a picture into a folder: what the network sees, beside it where the evidence lies.

    Raises LabError where the folder can't be made or written to.
    """

    def __init__(self, classifier: "Classifier", folder: str | os.PathLike):
        self._classifier, self._folder = classifier, Path(folder)
        self._taken: set[str] = set()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(f"Can't make the folder {folder}: {error.strerror or error}.") from error

    def add(self, source: Path, pixels: np.ndarray, probabilities: np.ndarray) -> Path:
        """Explain the picture's most probable class, and return the file: NAME-why.png, or NAME-why-2.png, …

        source: the picture's file, for its name. pixels: uint8 (32, 32, 3). probabilities: float (10,).
        """
        best = int(np.argmax(probabilities))
        drawn, _ = explain_picture(self._classifier, pixels, best)
        scale, gap = drawn.shape[1] // IMAGE_SIZE, 8
        sheet = Image.new("RGB", (2 * drawn.shape[1] + gap, drawn.shape[0]), PAPER)
        sheet.paste(enlarge(pixels, scale), (0, 0))
        sheet.paste(Image.fromarray(drawn), (drawn.shape[1] + gap, 0))
        says = f"{CLASS_NAMES[best]}: {percent(probabilities[best])}"
        draw = ImageDraw.Draw(sheet)
        draw.text((scale, IMAGE_SIZE * scale + scale), says, INK, ImageFont.load_default(size=16))
        file = self._folder / self._name(Path(source).stem)
        with replacing(file) as temporary:
            sheet.save(temporary)
        return file

    def _name(self, stem: str) -> str:
        # Pictures of one name from two folders get a number; some file systems don't tell upper from lower case.
        number, name = 1, f"{stem}-why.png"
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-why-{number}.png"
        self._taken.add(name.lower())
        return name
