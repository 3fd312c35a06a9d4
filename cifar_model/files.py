"""Write a file whole or not at all, and where the user's own files go."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import platformdirs

from cifar_model.errors import LabError


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A new empty file beside `path`, with its suffix; it takes `path`'s place when the block ends well.

    Raises LabError when the folder is missing or can't be written to, or the disk is full; an older file at
    `path` is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        if path.is_dir():
            raise LabError(f"Can't write {path}: it is a folder. Name a file in it.")
        temporary.touch(exist_ok=False)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise LabError(f"Can't write {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def cache_folder() -> Path:
    """Where what can be made again is kept: the user's cache directory, or `temporary_folder`."""
    return _usable(platformdirs.user_cache_path("cifar-lab"))


def data_folder() -> Path:
    """Where what the user makes is kept: the user's data directory, or `temporary_folder`."""
    return _usable(platformdirs.user_data_path("cifar-lab"))


def temporary_folder() -> Path:
    """Stands in for the user's directories where the home folder can't be written to, as in some containers."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"cifar-lab-{user}"


@lru_cache(maxsize=16)  # asked many times a second while a run is shown
def _usable(folder: Path) -> Path:
    nearest = next((path for path in (folder, *folder.parents) if os.path.exists(path)), folder)
    if os.access(nearest, os.W_OK | os.X_OK):
        return folder
    standby = temporary_folder()
    with suppress(OSError):
        standby.mkdir(mode=0o700, exist_ok=True)
        if not hasattr(os, "getuid") or standby.stat().st_uid == os.getuid():  # not one laid out by somebody else
            return standby
    return folder
