"""Fixtures that all tests share."""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY, make_pictures, write_parquet

NEEDS_DATA = "needs CIFAR-10"
_CIFAR10_DIR = os.environ.get("CIFAR10_DIR")

# A shell has its background jobs ignore Ctrl-C, and what tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# In these folders the generated pictures are there to be learnt from.
TRAINING = ("training", "distilling", "runs", "trust")


def pytest_collection_modifyitems(items):
    """Mark tests by what they need: `pytest -m cifar10` runs those of the real CIFAR-10 alone."""
    for item in items:
        fixtures, folder = getattr(item, "fixturenames", ()), item.path.parent.name
        if "cifar10_dir" in fixtures:
            item.add_marker("cifar10")
        if folder == "browser":
            item.add_marker("browser")
        if (folder in TRAINING and "tiny_cifar10" in fixtures) or "own" in fixtures:  # somebody's own network
            item.add_marker("training")
        if item.get_closest_marker("ray") and not importlib.util.find_spec("ray"):
            item.add_marker(pytest.mark.skip("needs Ray: pip install -r requirements-ray.txt"))


def pytest_sessionfinish(session, exitstatus):
    """With CIFAR_LAB_NO_SKIPS, as in CI, a skipped test fails the run; "cifar10" admits those that need the data."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not (strict := os.environ.get("CIFAR_LAB_NO_SKIPS")) or not reporter:
        return
    reasons = [str(report.longrepr[-1]) for report in reporter.stats.get("skipped", [])]
    if any(strict != "cifar10" or NEEDS_DATA not in reason for reason in reasons):
        reporter.write_line(f"Tests were skipped, and CIFAR_LAB_NO_SKIPS is {strict!r}.", red=True)
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


@pytest.fixture(autouse=True)
def quick_ends(request, monkeypatch):
    """Runs of this process end without being compiled, which takes seconds; the mark `compiles` lets them."""
    finish = sys.modules.get("cifar_model.training.finish")
    if finish and not request.node.get_closest_marker("compiles"):
        monkeypatch.setattr(finish, "can_compile", lambda: False)


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """The real CIFAR-10, from CIFAR10_DIR or ../shared/cifar10."""
    chosen = Path(_CIFAR10_DIR) if _CIFAR10_DIR else REPOSITORY.parent / "shared" / "cifar10"
    if not chosen.exists():
        pytest.skip(f"{NEEDS_DATA}: set CIFAR10_DIR, or put it in {chosen}")
    return chosen


@pytest.fixture(scope="session")
def tiny_cifar10(tmp_path_factory) -> Path:
    """A generated data set that can be learnt, as Parquet files: 400 train and 100 test images."""
    folder = tmp_path_factory.mktemp("tiny-cifar10")
    write_parquet(folder / "train-00000-of-00001.parquet", *make_pictures(40, seed=1))
    write_parquet(folder / "test-00000-of-00001.parquet", *make_pictures(10, seed=2))
    return folder


@pytest.fixture(scope="session")
def random_model(tmp_path_factory) -> Path:
    """A model directory, complete but for what training adds: seed-cnn with fixed random weights."""
    from cifar_model.models.layout import CARD_FILE, MODEL_FILE
    from cifar_model.models.network import save_network
    from cifar_model.networks.backend import import_keras
    from cifar_model.networks.build import build_network
    from cifar_model.storage import write_json

    keras = import_keras()
    folder = tmp_path_factory.mktemp("models") / "random"
    folder.mkdir()
    keras.utils.set_random_seed(7)
    save_network(build_network("seed-cnn"), folder / MODEL_FILE)
    write_json(folder / CARD_FILE, {"name": "random", "network": "seed-cnn"})
    return folder
