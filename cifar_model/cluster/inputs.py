"""Which pictures are meant by folders, patterns, lists and addresses, and one of them read."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cifar_model.cluster.places import Place, is_address, place_of
from cifar_model.errors import ImageError, LabError, SettingsError
from cifar_model.pictures.admit import MAX_BYTES, printable
from cifar_model.pictures.fit import load_picture
from cifar_model.pictures.folders import IMAGE_SUFFIXES, is_litter, is_picture

LISTS = (".parquet", ".csv")
COLUMNS = ("file", "path")  # of a list; the first that it has
NAMED = 10  # of the files that are left out


@dataclass
class Inputs:
    """What was found.

    names : paths as they were given, those in folders below them, or addresses; as bytes, which some file names are
    left_out : files in folders that are no pictures: how many, and the first of them
    seen : some of the files that are on this machine, so that others can be asked whether they see them
    """

    names: list[bytes]
    left_out: int = 0
    left_out_first: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def leave_out(self, file: str) -> None:
        self.left_out += 1
        if len(self.left_out_first) < NAMED:
            self.left_out_first.append(file)


def find_inputs(paths: Iterable[str]) -> Inputs:
    """List pictures: files, folders at any depth, patterns (`**` for any depth), lists, and all these at addresses.

    A list is a .parquet or .csv file with a column `file` or `path`; what it names is not looked at, and a path in it
    is one from the current folder. In folders of this machine counts what `pictures.folders.is_picture` says, at
    addresses what is called like a picture. Files come in the order of `paths`, by name within each folder; what is
    named twice is listed once. A folder that can't be read is listed itself, and fails when it is asked.

    Raises
    ------
    SettingsError
        Nothing lies there, or a list has no such column.
    LabError
        A list, or a file system, that can't be read.
    """
    inputs = Inputs([])
    found: dict[bytes, None] = {}
    for path in paths:
        first = None
        for name in _at_address(path) if is_address(path) else _on_machine(path, inputs):
            first = first or name
            found.setdefault(os.fsencode(name))
        if first and not is_address(first) and len(inputs.seen) < NAMED and os.path.exists(first):
            inputs.seen.append(os.path.abspath(first))
    inputs.names = list(found)
    return inputs


def load_input(name: str, folder: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """A picture as `fit.load_picture` gives it, from a path (from `folder`, if it is none from the root) or an address.

    Raises
    ------
    ImageError
        As `fit.load_picture`; also where an address can't be read.
    """
    if not is_address(name):
        return load_picture(os.path.join(folder, name), name=name)
    try:
        place = place_of(name)
        with place.files.open_input_stream(place.path) as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ImageError(f"{printable(name)}: no such file. Check the name.") from None
    except (OSError, LabError) as error:
        raise ImageError(f"{printable(name)}: can't be read ({printable(error)}).") from None
    return load_picture(content, name=name)


def _on_machine(path: str, inputs: Inputs) -> Iterator[str]:
    if os.path.isdir(path):
        unreadable: list[str] = []
        for folder, folders, names in os.walk(path, onerror=lambda error: unreadable.append(error.filename)):
            folders[:] = sorted(name for name in folders if not is_litter(name))
            for name in sorted(names):
                file = os.path.join(folder, name)
                if is_litter(name):
                    continue
                if name.casefold().endswith(IMAGE_SUFFIXES) or is_picture(Path(file)):
                    yield file
                else:
                    inputs.leave_out(file)
        yield from unreadable
    elif path.casefold().endswith(LISTS) and os.path.isfile(path):
        yield from _listed(place_of(path), path)
    elif os.path.exists(path):
        yield path
    else:
        matches = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
        if not matches:
            raise SettingsError(f"{printable(path)}: nothing lies there. Check the name; a pattern stands in quotes.")
        for match in matches:
            yield from _on_machine(match, inputs)


def _at_address(address: str) -> Iterator[str]:
    from pyarrow.fs import FileSelector, FileType  # slow to import

    place = place_of(address)
    pattern = glob.has_magic(place.path)
    base = place.path.split("*")[0].split("[")[0].rpartition("/")[0] if pattern else place.path
    try:
        if place.path.casefold().endswith(LISTS) and not pattern:
            yield from _listed(place, address)
            return
        kind = place.files.get_file_info(base).type
        if kind == FileType.Directory:
            inside = place.files.get_file_info(FileSelector(base, recursive=True))
            wanted = re.compile(_translated(place.path) if pattern else ".*", re.DOTALL)
            files = sorted(one.path for one in inside if one.type == FileType.File and wanted.fullmatch(one.path))
        else:
            files = [base] if kind == FileType.File and not pattern else []
    except OSError as error:
        raise LabError(f"{address} can't be read: {str(error).splitlines()[0]}") from None
    if kind != FileType.Directory and not files:
        raise SettingsError(f"{printable(address)}: nothing lies there. Check the name.")
    for file in files:
        if not pattern and kind == FileType.Directory and not file.casefold().endswith(IMAGE_SUFFIXES):
            continue
        yield place.address(file)


def _translated(pattern: str) -> str:
    """A pattern as a regular expression: `*` within one folder, `**` at any depth, [abc]."""
    pieces = re.split(r"(\*\*/|\*|\[[^\]/]+\])", pattern)
    meaning = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return "".join(meaning.get(p, p if p.startswith("[") else re.escape(p)) for p in pieces)


def _listed(place: Place, name: str) -> Iterator[str]:
    """The names in a list, a block at a time."""
    from pyarrow import csv, parquet, string  # slow to import

    try:
        with place.files.open_input_file(place.path) as file:
            if name.casefold().endswith(".parquet"):
                stored = parquet.ParquetFile(file)
                column = _column(stored.schema_arrow.names, name)
                blocks = stored.iter_batches(columns=[column])
            else:
                column = _column(csv.open_csv(file).schema.names, name)
                file.seek(0)
                options = csv.ConvertOptions(include_columns=[column], column_types={column: string()})
                blocks = csv.open_csv(file, convert_options=options)
            for block in blocks:
                yield from (str(value) for value in block.column(0).to_pylist() if value)
    except (OSError, ValueError) as error:
        raise LabError(f"The list {printable(name)} can't be read: {printable(error)}") from None


def _column(columns: list[str], name: str) -> str:
    for column in COLUMNS:
        if column in columns:
            return column
    raise SettingsError(
        f"{printable(name)} has the columns {printable(', '.join(columns))}. A list of pictures has a column "
        f"{' or '.join(COLUMNS)}."
    )
