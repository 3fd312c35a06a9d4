"""Fixtures that all tests share."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_model.classes import CLASS_COLORS, CLASS_NAMES

REPOSITORY = Path(__file__).resolve().parent.parent
_CIFAR10_DIR = os.environ.get("CIFAR10_DIR")


def pytest_sessionfinish(session, exitstatus):
    """With CIFAR_LAB_NO_SKIPS (as in CI, where everything is at hand) a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CIFAR_LAB_NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        reporter.write_line("Tests were skipped, and CIFAR_LAB_NO_SKIPS is set.", red=True)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def lab_environment(tmp_path_factory):
    """No test reads or writes the user's caches, runs or data: all lie below a temporary directory."""
    home = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("CIFAR_LAB_CACHE", "CIFAR_LAB_RUNS", "KERAS_HOME"):
            (home / variable).mkdir()
            patch.setenv(variable, str(home / variable))
        patch.delenv("CIFAR10_DIR", raising=False)
        yield home


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """The real CIFAR-10, from CIFAR10_DIR or ../shared/cifar10."""
    chosen = Path(_CIFAR10_DIR) if _CIFAR10_DIR else REPOSITORY.parent / "shared" / "cifar10"
    if not chosen.exists():
        pytest.skip(f"needs CIFAR-10: set CIFAR10_DIR, or put it in {chosen}")
    return chosen


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


@pytest.fixture(scope="session")
def tiny_cifar10(tmp_path_factory) -> Path:
    """A generated data set that can be learnt, as Parquet files: 400 train and 100 test pictures."""
    folder = tmp_path_factory.mktemp("tiny-cifar10")
    write_parquet(folder / "train-00000-of-00001.parquet", *make_pictures(40, seed=1))
    write_parquet(folder / "test-00000-of-00001.parquet", *make_pictures(10, seed=2))
    return folder


@pytest.fixture(scope="session")
def random_model(tmp_path_factory) -> Path:
    """A model directory, complete but for what training adds: seed-cnn with fixed random weights."""
    from cifar_model.architectures import build_network
    from cifar_model.backend import import_keras
    from cifar_model.models import CARD_FILE, MODEL_FILE, save_network, write_json

    keras = import_keras()
    folder = tmp_path_factory.mktemp("models") / "random"
    folder.mkdir()
    keras.utils.set_random_seed(7)
    save_network(build_network("seed-cnn"), folder / MODEL_FILE)
    write_json(folder / CARD_FILE, {"name": "random", "network": "seed-cnn"})
    return folder
