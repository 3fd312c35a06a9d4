"""Picture files in folders."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from cifar_model.errors import ImageError
from cifar_model.pictures.admit import printable

IMAGE_SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif",
)  # fmt: skip


def find_images(
    paths: Iterable[str | os.PathLike], *, on_error: Callable[[Path, ImageError], None] | None = None
) -> list[Path]:
    """List picture files: files as named, folders searched through and through by suffix.

    The order is that of `paths`, sorted within each folder; a file reached twice is listed once; in folders,
    hidden files are left out. `on_error`, if given, hears of each path that would raise; the rest is listed.

    Raises
    ------
    ImageError
        A path that doesn't exist, or a folder that can't be read.
    """

    def refuse(path: Path, reason: str) -> None:
        error = ImageError(f"{printable(path)}: {reason}")
        if on_error is None:
            raise error
        on_error(path, error)

    def unreadable(error: OSError) -> None:
        refuse(Path(error.filename), f"can't be read ({error.strerror}). Check its permissions.")

    found = {}
    for path in map(Path, paths):
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        except (OSError, ValueError) as error:
            refuse(path, f"{getattr(error, 'strerror', None) or error}. Check the name and its permissions.")
            continue
        if is_folder:
            inside = [
                Path(folder, file)
                for folder, _, files in os.walk(path, onerror=unreadable)
                for file in files
                if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith(".")
            ]
            files = sorted(inside)
        else:
            files = [path]
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())
