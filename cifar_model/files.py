"""Write a file whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
