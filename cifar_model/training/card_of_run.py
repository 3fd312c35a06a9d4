"""The card that a run writes of its network."""

import platform
import subprocess
import time
from pathlib import Path

import numpy as np

from cifar_model.models import card as cards
from cifar_model.networks.views import single_view
from cifar_model.training.state import Training

NO_TRUST = (
    "No test score, calibration, answer sets or scope: fitted on synthetic pictures, they say nothing of real ones."
)


def write_card(training: Training, scores: dict, assessed: dict | None = None) -> dict:
    """Write and return the card of the best network so far; `assessed` are the parts that `assess` found."""
    import keras

    settings, state, data = training.settings, training.state, training.data
    recipe = vars(settings.details) | {"resolutions": [list(pair) for pair in settings.details.resolutions]}
    deployed = training.networks.deployed
    card = {
        "name": training.directory.path.name,
        "network": settings.network,
        "recipe": settings.recipe,
        "settings": settings.to_dict(),
        "details": {key: value for key, value in recipe.items() if key not in settings.to_dict()},
        "averaging": "mirror" if single_view(deployed) is not deployed else "none",
        "parameters": training.networks.learner.count_params(),
        "data": {
            "source": data.source.title,
            "train": len(data.train[0]),
            "validation": data.held_out,
            "test": len(data.test[0]) if data.test else 0,
            **({"held_out_up_to": f"{data.boundary:016x}"} if data.test else {"note": NO_TRUST}),
            **({"outliers": data.outliers.describe()} if data.outliers else {}),
        },
        **(assessed or {"calibration": {}}),
        "scores": scores,
        "best_epoch": state.best_epoch,
        "epochs": settings.epochs,
        "epochs_done": state.epoch,
        "seconds": round(state.seconds, 1),
        "seed": settings.seed,
        "precision": training.precision,
        "versions": {
            "python": platform.python_version(),
            "keras": keras.version(),
            "backend": keras.backend.backend(),
            "numpy": np.__version__,
        },
        "command": training.command,
        **({"commit": commit} if (commit := current_commit()) else {}),
        **({"start_from": training.origin} if training.origin else {}),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return cards.write_card(training.directory.path, card)


def current_commit() -> str:
    """The commit of the code at work; empty outside a checkout, or with changes that no commit has."""
    folder = Path(__file__).resolve().parent

    def git(*arguments):
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return "" if git("status", "--porcelain", "--untracked-files=no") else git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return ""
