"""Picture files in folders: told by their content, in the order in which a person counts."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cifar_model.errors import ImageError
from cifar_model.pictures.admit import HEAD_BYTES, kind_of, printable

# What picture files are called; `kind_of` decides by their content.
IMAGE_SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".heic", ".heif", ".hif", ".webp", ".gif", ".tif", ".tiff",
    ".bmp", ".avif",
)  # fmt: skip

_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}


def natural_key(name: str | os.PathLike) -> tuple:
    """Sorts names as a person does: img1, img2, IMG10; folder by folder."""

    def part(text: str) -> list[tuple]:
        pieces = re.split(r"(\d+)", text.casefold(), flags=re.ASCII)
        return [(0, int(piece[:4000]), "") if i % 2 else (1, 0, piece) for i, piece in enumerate(pieces) if piece]

    text = os.fspath(name).replace("\\", "/")
    return tuple(part(one) for one in text.split("/")), text


def is_litter(name: str) -> bool:
    """Whether a file or folder is none of the person's own: hidden, or an operating system's (`._p.jpg`, Thumbs.db)."""
    return name.startswith(".") or name.casefold() in _LITTER


def distinct_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """What to call files: by name alone, and where several share one, by as many folders as tell them apart."""
    parts = [os.fspath(path).replace("\\", "/").split("/") for path in paths]
    shown = [1] * len(parts)
    while True:
        names = ["/".join(part[-n:]) for part, n in zip(parts, shown, strict=True)]
        counts = Counter(names)
        longer = [min(n + (counts[name] > 1), len(part)) for name, n, part in zip(names, shown, parts, strict=True)]
        if longer == shown:
            return names
        shown = longer


def find_images(
    paths: Iterable[str | os.PathLike],
    *,
    on_error: Callable[[Path, ImageError], None] | None = None,
    on_left_out: Callable[[Path], None] | None = None,
) -> list[Path]:
    """List picture files: files as named; folders are searched through and through, and each file in them looked into.

    What counts in a folder says `is_picture`. The order is that of `paths`,
    natural within each folder (`natural_key`); a file reached twice is listed once; hidden files and the litter of
    operating systems are passed over. `on_left_out`, if given, hears of every other file in a folder that is no
    picture. `on_error`, if given, hears of each path that would raise; the rest is listed.

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
        files = [path]
        if is_folder:
            inside = []
            for folder, folders, names in os.walk(path, onerror=unreadable):
                folders[:] = [name for name in folders if not is_litter(name)]
                inside += [Path(folder, name) for name in names if not is_litter(name)]
            files = []
            for file in sorted(inside, key=natural_key):
                if is_picture(file):
                    files.append(file)
                elif on_left_out:
                    on_left_out(file)
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def is_picture(file: Path) -> bool:
    """Whether a file in a folder counts: by its content or, be it damaged or empty, by its suffix."""
    if file.name.casefold().endswith(IMAGE_SUFFIXES):
        return True
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe could block for ever
            return False
        with open(file, "rb") as stream:
            return kind_of(stream.read(HEAD_BYTES)) is not None
    except OSError:
        return False
