"""Files here and elsewhere: a path of this machine, or an address that a file system of pyarrow's opens."""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from cifar_model.errors import LabError, SettingsError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SCHEMES = "s3://, gs://, abfs://, hdfs:// and file://"


def is_address(name: str) -> bool:
    """Whether `name` is an address, as s3://bucket/key is, and no path of this machine."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name))


@dataclass(frozen=True)
class Place:
    """A file or folder: `path` within `files`, a file system of pyarrow's.

    `root`, `prefix` and `query` make its address; they are "" on this machine.
    """

    files: FileSystem
    path: str
    root: str = ""
    prefix: str = ""
    query: str = ""

    def address(self, path: str) -> str:
        """The name of another path in the same file system."""
        return f"{self.root}{quote(path[len(self.prefix) :].lstrip('/'))}{self.query}" if self.root else path

    def child(self, name: str) -> str:
        """The path of a file in this folder."""
        return f"{self.path.rstrip('/')}/{name}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file into this folder, whole or not at all; OSError where that can't be done."""
        temporary = self.child(f".{uuid.uuid4().hex}")
        with self.files.open_output_stream(temporary) as stream:
            stream.write(content)
        self.files.move(temporary, self.child(name))


def place_of(name: str) -> Place:
    """Where a path or an address leads; no file need be there.

    Raises
    ------
    SettingsError
        An address of a kind that pyarrow doesn't open.
    LabError
        A file system that can't be reached.
    """
    from pyarrow.fs import LocalFileSystem  # slow to import

    if not is_address(name):
        return Place(LocalFileSystem(), os.path.abspath(name))
    parts = urlsplit(name, allow_fragments=False)
    query = f"?{parts.query}" if parts.query else ""
    root = f"{parts.scheme}://{parts.netloc}/"
    files, prefix = _file_system(root + query)
    return Place(files, f"{prefix}/{unquote(parts.path).lstrip('/')}", root, prefix, query)


@lru_cache(maxsize=64)  # to reach one may take a question over the network
def _file_system(address: str) -> tuple[FileSystem, str]:
    from pyarrow.fs import FileSystem  # slow to import

    try:
        files, path = FileSystem.from_uri(address)
    except ValueError as error:
        raise SettingsError(f"{address} can't be opened: {error}. Allowed: {SCHEMES}, and paths.") from None
    except OSError as error:
        raise LabError(f"{address} can't be opened: {str(error).splitlines()[0]}") from None
    return files, path.rstrip("/")
