"""What the browser must know to answer as the server would: the model's card, in numbers."""

import base64
import json

from cifar_model.app.browser.files import FOLDER
from cifar_model.app.shared import resources
from cifar_model.app.shared.reading import fitted
from cifar_model.classes import CLASS_NAMES
from cifar_model.models.folder import ModelInfo
from cifar_model.trust.scope import METHOD

# Methods of a card's `scope` that need no more than ten probabilities: what live/trust.js calls them.
BROWSER_SCORES = {METHOD: "generalisedEntropy"}
NO_SCOPE = "For this network, Live can't say whether an image shows none of the ten classes."


def runtime_version() -> str:
    """The version of LiteRT.js that lies here."""
    origin = json.loads((FOLDER / "live" / "runtime" / "origin.json").read_text(encoding="utf-8"))
    return origin["packages"]["@litertjs/core"]["version"]


def about_model(model: ModelInfo, url: str | None) -> dict:
    """A model for the browser; `url` is None as long as its network is being prepared."""
    sets = model.card.stored["sets"] if fitted(model, "sets") else None
    scope, note = about_scope(model)
    return {
        "name": model.name,
        "title": model.title,
        "url": url,
        "calibration": model.card.correction if fitted(model, "calibration") else {},
        "sets": sets and {key: sets[key] for key in ("penalty", "rank", "levels")},
        "scope": scope,
        "note": note,
    }


def about_scope(model: ModelInfo) -> tuple[dict | None, str]:
    """The card's score for "none of the ten" where ten probabilities suffice for it; else why there is none."""
    scope = model.card.stored.get("scope") if fitted(model, "scope") else None
    if not scope:
        return None, ""
    score = BROWSER_SCORES.get(scope.get("method"))
    return ({"score": score, "threshold": scope["threshold"]}, "") if score else (None, NO_SCOPE)


def about_samples(folder: str) -> dict[str, dict]:
    """The sample photographs: their 32×32 pixels in base64, and the address of each file below `folder`."""
    return {
        name: {
            "pixels": base64.b64encode(resources.samples()[name].pixels.tobytes()).decode("ascii"),
            "file": f"{folder}{resources.sample_path(name).name}",
        }
        for name in CLASS_NAMES
    }
