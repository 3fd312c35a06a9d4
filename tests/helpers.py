"""What several tests need: generated pictures, the files that hold them, waiting for a state."""

import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_model.classes import CLASS_COLORS, CLASS_NAMES

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 180  # seconds, for a machine that does other things too


def wait_for(ready, what: str):
    """Wait until `ready()` gives something that is true, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (result := ready()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
    return result


def wait_for_state(name: str, *states: str):
    """Wait until a run is in one of these states; fail where it has come to another end."""
    from cifar_model.runs.read import LIVE_STATES, read_log, read_run

    def ready():
        run = read_run(name)
        assert run.state in (*LIVE_STATES, *states), f"{run.state}: {run.message}\n{read_log(run.path)}"
        return run if run.state in states else None

    return wait_for(ready, f"{name} to be {states}")


def make_pictures(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy stripes in the colour of each class: uint8 (10·per_class, 32, 32, 3), int64 labels, shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(10), per_class))
    rows, columns = np.mgrid[:32, :32]
    angle = np.pi * labels / 10
    phase = rng.uniform(0, 2 * np.pi, len(labels))
    along = np.multiply.outer(np.cos(angle), columns) + np.multiply.outer(np.sin(angle), rows)
    stripes = 0.7 + 0.3 * np.sin(0.8 * along + phase[:, None, None])
    palette = np.array([[int(CLASS_COLORS[name][i : i + 2], 16) for i in (1, 3, 5)] for name in CLASS_NAMES])
    pictures = stripes[..., None] * palette[labels][:, None, None]
    pictures += rng.normal(0, 20, pictures.shape)
    return pictures.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(path: Path, pictures, labels, kind: str = "PNG") -> None:
    """A file in the layout of the Hugging Face data set."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    img = [{"bytes": encode(p, kind), "path": f"{i}.{kind.lower()}"} for i, p in enumerate(pictures)]
    img_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"img": pa.array(img, img_type), "label": np.asarray(labels, np.int64)}), path)


def make_answers(labels: np.ndarray, seed: int, right: float = 0.7) -> np.ndarray:
    """Made-up probabilities float32 (n, 10) that are right for about this share of labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (len(labels), 10))
    told = np.where(rng.random(len(labels)) < right, labels, rng.integers(0, 10, len(labels)))
    logits[np.arange(len(labels)), told] += rng.uniform(2, 5, len(labels))
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def full_card(name: str, labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """A card with everything that a finished run writes; its scores are those of these answers."""
    from cifar_model.trust.calibration import calibrate, expected_calibration_error, reliability_bins
    from cifar_model.trust.metrics import accuracy_score, confusion_matrix

    calibration = {"temperature": 1.25, "fitted_on": "2500 held-out training images"}
    answers = calibrate(probabilities, calibration)
    counts = confusion_matrix(labels, answers.argmax(1))
    edges = np.linspace(-3, 3, 13)
    return {
        "name": name,
        "network": "seed-cnn",
        "recipe": "quick",
        "settings": {"network": "seed-cnn"},
        "parameters": 123_210,
        "data": {"source": "generated stripes", "train": 400, "validation": 40, "test": len(labels)},
        "scores": {
            "validation_accuracy": 0.75,
            "test_accuracy": accuracy_score(labels, answers.argmax(1)),
            "confusion": counts.tolist(),
        },
        "calibration": calibration
        | {
            "bins": reliability_bins(labels, answers).tolist(),
            "bins_before": reliability_bins(labels, probabilities).tolist(),
            "expected_calibration_error": expected_calibration_error(labels, answers),
            "expected_calibration_error_before": expected_calibration_error(labels, probabilities),
        },
        "mixes": {"pairs": 300, "share_error": 0.25, "parents_mass": 0.7, "top_two": 0.3},
        "sets": {
            "method": "RAPS",
            "levels": {
                str(level): {
                    "coverage": level / 100,
                    "mean_size": level / 50,
                    "classes": dict.fromkeys(CLASS_NAMES, 1.5),
                }
                for level in (90, 95, 99)
            },
        },
        "scope": {
            "method": "nearest features",
            "threshold": -1.0,
            "fitted_on": "2500 held-out training images",
            "false_alarms": 0.051,
            "histogram": {
                "edges": edges.tolist(),
                "test": np.histogram(np.linspace(-1, 3, 100), edges)[0].tolist(),
                "outside": np.histogram(np.linspace(-3, 0, 100), edges)[0].tolist(),
            },
            "probes": {"digits": {"auroc": 0.98, "flagged": 0.9}},
        },
        "explanation": {"method": "HiResCAM", "images": 500, "drop_marked": 0.41, "drop_elsewhere": 0.12},
        "epochs": 3,
        "seconds": 61.0,
        "command": "python -m cifar_model train --network seed-cnn",
    }


def write_model(
    folder: Path, labels: np.ndarray, *, seed: int = 1, card: dict | None = None, images: np.ndarray | None = None
) -> np.ndarray:
    """A model directory with card, answers and history, but a file without a network; returns its probabilities.

    The answers name `images` uint8 (n, 32, 32, 3); without these, none, as older versions did.
    """
    from cifar_model.data.split import fingerprints
    from cifar_model.models.answers import write_answers
    from cifar_model.models.history import HISTORY_COLUMNS
    from cifar_model.models.layout import CARD_FILE, HISTORY_FILE, MODEL_FILE
    from cifar_model.storage import write_json

    folder.mkdir(parents=True)
    probabilities = make_answers(labels, seed)
    (folder / MODEL_FILE).write_bytes(b"no network")
    card = full_card(folder.name, labels, probabilities) if card is None else card
    write_json(folder / CARD_FILE, card)
    names = None if images is None else fingerprints(images)
    write_answers(folder, probabilities=probabilities, labels=labels, fingerprints=names)
    lines = [",".join(HISTORY_COLUMNS), "1,2.0,0.3,1.9,0.35,0.01,900,2", "2,1.5,0.5,1.4,0.5,0.01,900,2"]
    (folder / HISTORY_FILE).write_text("\n".join(lines) + "\n")
    return probabilities


def kept(folder):
    """What lies there, but for the lock's own file: removing it would give two waiters two locks."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"]
