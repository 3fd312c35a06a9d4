"""The app's wiring: every resource that sessions share is made here, once, and is replaced here by a test."""

import gc
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from cifar_model.classes import CLASS_NAMES
from cifar_model.models import MODEL_FILE, ModelInfo, assets_dir, list_models
from cifar_model.ui.jobs import Picture
from cifar_model.ui.worker import Worker

# Beside a folder named pages/, Streamlit ignores the navigation of streamlit_app.py until that has run once: whoever
# opened another page first after a start got the wrong menu. Every page imports this module before it shows anything.
if PagesManager.uses_pages_directory:
    PagesManager.uses_pages_directory = False
    st.rerun()

AT_A_TIME = 16  # pictures a request: another person's single picture waits for no more than these
KEPT_SWEEPS = 200  # 4 kB each


@st.cache_resource(show_spinner=False)
def answering() -> Worker:
    """The process that holds TensorFlow and the networks, warmed with the first model of the list."""
    known = list_models()
    if not known:
        return Worker()
    return Worker("answer", known[0].path, np.zeros((AT_A_TIME, 32, 32, 3), np.uint8))


@st.cache_resource(show_spinner=False)
def drawing() -> Worker:
    """The process that decodes, mixes and draws: a hostile picture ends neither the app nor the answers."""
    return Worker()


@st.cache_data(ttl=2, show_spinner=False)
def models() -> list[ModelInfo]:
    """All models that can be asked, the default one first; looked up at most every two seconds."""
    return list_models(epochs=True)


def sample_path(name: str) -> Path:
    """The file of a class's sample photograph."""
    return assets_dir() / "samples" / f"{name}.webp"


@st.cache_resource(show_spinner=False)
def samples() -> dict[str, Picture]:
    """The ten sample photographs by class."""
    jobs = {name: drawing().submit("prepare", sample_path(name), name) for name in CLASS_NAMES}
    return {name: job.result(30) for name, job in jobs.items()}


@st.cache_data(max_entries=64, show_spinner=False)
def mix(a: np.ndarray, b: np.ndarray, mode: str) -> tuple[np.ndarray, str]:
    """The 101 mixes of two pictures, as in `jobs.mix`."""
    return drawing().call("mix", a, b, mode)


def version(model: Path) -> int | None:
    """Changes whenever a model's file does."""
    try:
        return (model / MODEL_FILE if model.is_dir() else model).stat().st_mtime_ns
    except OSError:
        return None


def ask(model: Path, pixels: np.ndarray) -> np.ndarray:
    """What a model believes about uint8 (n ≥ 1, 32, 32, 3): float32 (n, 10). Answers are kept a while."""
    stamp = version(model)
    return np.concatenate([_ask(model, stamp, pixels[i : i + AT_A_TIME]) for i in range(0, len(pixels), AT_A_TIME)])


@st.cache_data(max_entries=1024, show_spinner=False)
def _ask(model: Path, stamp: int | None, pixels: np.ndarray) -> np.ndarray:
    return answering().call("answer", model, pixels)


@st.cache_resource(show_spinner=False)
def settle(page: str) -> None:
    """Once a page and all that it imports is loaded: take it out of the garbage collector's sight.

    Streamlit collects after every script run, and each collection would otherwise walk all modules again.
    """
    gc.collect()
    gc.freeze()


@st.cache_resource(show_spinner=False)
def _sweeps() -> OrderedDict[tuple, np.ndarray]:
    """The last complete sweeps of all visitors, by model, its version and the frames."""
    return OrderedDict()


def _sweep_key(model: Path, frames: np.ndarray) -> tuple:
    return model, version(model), hashlib.blake2b(frames.tobytes(), digest_size=16).digest()


def known_sweep(model: Path, frames: np.ndarray) -> np.ndarray | None:
    """The answers to frames uint8 (101, 32, 32, 3) as float32 (101, 10), if somebody has asked before."""
    return _sweeps().get(_sweep_key(model, frames))


def compute_sweep(model: Path, frames: np.ndarray) -> Iterator[int]:
    """Answer all frames, so that `known_sweep` knows; yields how many are done, others' turns in between."""
    if known_sweep(model, frames) is not None:
        return
    parts = []
    for start in range(0, len(frames), AT_A_TIME):
        parts.append(answering().call("answer", model, frames[start : start + AT_A_TIME]))
        yield min(start + AT_A_TIME, len(frames))
    sweeps = _sweeps()
    sweeps[_sweep_key(model, frames)] = np.concatenate(parts)
    while len(sweeps) > KEPT_SWEEPS:
        sweeps.popitem(last=False)
