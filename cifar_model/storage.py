"""Whole files or none, JSON, CSV, and the folders: the project's own, the user's runs and caches."""

import csv
import io
import json
import os
import stat
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import platformdirs

from cifar_model.errors import LabError, ModelError


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


def check_folder(path: str | os.PathLike) -> None:
    """LabError, before the work rather than after it, where the folder that a file is to be written into is missing."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise LabError(f"Can't write {path}: there is no folder {folder}. Make it, or name another.")


VISITS = "visits"  # in the caches' folder: a folder for each visit to the app, with the files of its pictures


def cache_folder() -> Path:
    """Where what can be made again is kept: the user's cache directory, or `temporary_folder`."""
    return _of_user(platformdirs.user_cache_path)


def caches_dir() -> Path:
    """The folder of all caches, existing or not: ``CIFAR_LAB_CACHE``, else the user's cache directory."""
    return configured_folder("CIFAR_LAB_CACHE") or cache_folder()


def keep_newest(newest: Path, count: int) -> None:
    """Delete files of `newest`'s kind beside it, those first that were not written or used for longest."""
    with suppress(OSError):  # somebody else may be doing the same
        files = sorted(newest.parent.glob(f"*{newest.suffix}"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in [file for file in files if file != newest][count - 1 :]:
            file.unlink()


def data_folder() -> Path:
    """Where what the user makes is kept: the user's data directory, or `temporary_folder`."""
    return _of_user(platformdirs.user_data_path)


def temporary_folder() -> Path:
    """Stands in for the user's directories where the home folder can't be written to, as in some containers."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"cifar-lab-{user}"


def _of_user(find: Callable[[str], Path]) -> Path:
    try:
        return _usable(find("cifar-lab"))
    except RuntimeError:  # this user has no home folder
        return _standby() or temporary_folder()


@lru_cache(maxsize=16)  # asked many times a second while a run is shown
def _usable(folder: Path) -> Path:
    nearest = next((path for path in (folder, *folder.parents) if os.path.exists(path)), folder)
    if os.access(nearest, os.W_OK | os.X_OK):
        return folder
    return _standby() or folder


def _standby() -> Path | None:
    """`temporary_folder`, made where it is missing; None where it can't be had."""
    standby = temporary_folder()
    with suppress(OSError):
        standby.mkdir(mode=0o700, exist_ok=True)
        if not hasattr(os, "getuid") or standby.stat().st_uid == os.getuid():  # not one laid out by somebody else
            return standby
    return None


def assets_dir() -> Path:
    """The folder ``assets/`` that ships with the project."""
    return Path(__file__).resolve().parent.parent / "assets"


def runs_dir() -> Path:
    """Where training runs are kept: ``CIFAR_LAB_RUNS``, else below the user's data directory (`data_folder`)."""
    return configured_folder("CIFAR_LAB_RUNS") or data_folder() / "runs"


def configured_folder(variable: str) -> Path | None:
    """The folder that an environment variable names, None where it isn't set; LabError for a ~ that means nothing."""
    configured = os.environ.get(variable)
    try:
        return Path(configured).expanduser() if configured else None
    except RuntimeError:
        raise LabError(f"{variable} is {configured!r}, and this user has no home folder. Give a full path.") from None


def read_json(path: Path) -> dict:
    """A JSON object from `path`; ModelError that names the file where it is missing or broken."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} can't be read as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds {type(value).__name__}, expected a JSON object.")
    return value


def write_json(path: Path, value: dict) -> None:
    """Write `value` as JSON whole or not at all; LabError where the file can't be written."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


class CsvWriter:
    """Writes rows as CSV: the one way in which this project does.

    file : text, open for writing; columns : their names, written at once
    spreadsheet : text that begins like a formula gets an apostrophe before it, or a spreadsheet would run a file's name
    """

    def __init__(self, file: TextIO, columns: Sequence[str], *, spreadsheet: bool):
        self._rows = csv.writer(file, lineterminator="\n")
        self._spreadsheet = spreadsheet
        self.write(columns)

    def write(self, row: Iterable[Any]) -> None:
        """One row; None is an empty cell."""
        self._rows.writerow([_harmless(value) for value in row] if self._spreadsheet else list(row))


def _harmless(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


@contextmanager
def csv_file(path: str | os.PathLike, columns: Sequence[str]) -> Iterator[CsvWriter]:
    """A CSV file that spreadsheets open, whole or not at all; LabError where it can't be written.

    It begins with a byte order mark: without one, spreadsheets take UTF-8 for something else.
    """
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as file:
        yield CsvWriter(file, columns, spreadsheet=True)


def csv_stdout(columns: Sequence[str]) -> CsvWriter:
    """CSV to standard output: sent to a file (`> answers.csv`), as `csv_file` writes it; else plain, for programs."""
    file, to_file = sys.stdout, False
    with suppress(OSError, ValueError):  # no real file behind it
        to_file = isinstance(file, io.TextIOWrapper) and stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    if to_file and isinstance(file, io.TextIOWrapper):
        file.reconfigure(encoding="utf-8")  # Windows would take the code page of its console
        if file.tell() == 0:  # not behind what the file holds already
            file.write("\ufeff")
    return CsvWriter(file, columns, spreadsheet=to_file)


def csv_bytes(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """The same as bytes, to be downloaded."""
    text = io.StringIO(newline="")
    writer = CsvWriter(text, columns, spreadsheet=True)
    for row in rows:
        writer.write(row)
    return text.getvalue().encode("utf-8-sig")
