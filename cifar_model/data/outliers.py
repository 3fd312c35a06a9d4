"""Pictures of other things, for outlier exposure (Hendrycks, Mazeika & Dietterich 2019, arXiv:1812.04606).

CIFAR-100 (Krizhevsky 2009) stems from the same collection as CIFAR-10 and shares none of its classes, so nothing but
content tells the two apart. A folder of one's own pictures serves as well.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from cifar_model.data import find
from cifar_model.data.batches import MAX_CIFAR100_MEMBER, cifar100_batch
from cifar_model.data.cache import cache_root
from cifar_model.data.parquet import read_rows
from cifar_model.errors import DatasetError, LabError
from cifar_model.pictures.fit import load_image
from cifar_model.pictures.folders import find_images
from cifar_model.storage import replacing

CIFAR100 = "cifar100"
NONE = "none"

FINE_NAMES = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
    porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm""".split()
)

# Not outside the ten: a pickup is a truck to most people (CIFAR-10 has none), and many pictures of the sea show a ship.
LEFT_OUT = ("pickup_truck", "sea")

# A picture whose 8×8 thumbnail is this near (root mean square, grey levels) to one of CIFAR-10's counts as its twin.
TWIN_DISTANCE = 5.0

THREE_WAYS = """Three ways to get CIFAR-100:
  1. Keras's own download:   python -c "import keras; keras.datasets.cifar100.load_data()"
  2. the official archive:   https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz
     then --outliers cifar-100-python.tar.gz, or set CIFAR100_DIR to it
  3. the Parquet files:      https://huggingface.co/datasets/uoft-cs/cifar100 (train-*.parquet)
     then --outliers FOLDER, or set CIFAR100_DIR to it
A folder of your own pictures that show none of the ten classes will do as well: --outliers FOLDER"""

_KERAS_PLACES = (
    "cifar-100-python-target/cifar-100-python",
    "cifar-100-python",
    "cifar-100-python-target_archive",
    "cifar-100-python.tar.gz",
)
_CACHE_FORMAT = 1
Labelled: TypeAlias = tuple[np.ndarray, np.ndarray, tuple[str, ...]]  # images, fine labels, names of the classes


@dataclass(frozen=True)
class Outliers:
    """Pictures that show none of the ten classes.

    images : uint8 (n, 32, 32, 3)
    title : where they come from, in words
    left_out : {reason: number of pictures that were not taken}
    """

    images: np.ndarray
    title: str
    left_out: dict[str, int]

    def describe(self) -> str:
        """One sentence: how many, from where, what was left out."""
        without = ", ".join(f"{number:,} {reason}" for reason, number in self.left_out.items() if number)
        return f"{len(self.images):,} images of other things from {self.title}" + (
            f" (left out: {without})." if without else "."
        )


def load_outliers(place: str, known: np.ndarray, *, part: str = "train") -> Outliers:
    """Read pictures of other things.

    Parameters
    ----------
    place
        "cifar100" (CIFAR100_DIR, else Keras's download cache), or a path: CIFAR-100's archive, its folder in the
        official or the Hugging Face layout, or any folder of pictures.
    known : uint8 (n, 32, 32, 3)
        CIFAR-10's pictures: twins of these are left out.
    part : "train" or "test", of CIFAR-100

    Raises
    ------
    DatasetError
        Nothing there, or nothing that can be read, with the ways to get CIFAR-100.
    """
    path = _find(place)
    try:
        digest = hashlib.sha256(repr((_CACHE_FORMAT, part, LEFT_OUT, TWIN_DISTANCE, len(known))).encode())
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                stat = file.stat()
                digest.update(repr((str(file), stat.st_size, stat.st_mtime_ns)).encode())
    except OSError as error:
        raise DatasetError(f"{error.filename or path} can't be read: {error.strerror or error}.") from error
    entry = cache_root().with_name("outliers") / f"{digest.hexdigest()}.npz"
    if cached := _open_cache(entry):
        return cached
    found = _without_twins(_read(path, part), known)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with replacing(entry) as temporary:
            reasons, numbers = list(found.left_out), list(found.left_out.values())
            np.savez(temporary, images=found.images, title=found.title, reasons=reasons, numbers=numbers)
    except (OSError, LabError):
        pass  # only speed is lost
    return found


def load_cifar100(place: str = CIFAR100, part: str = "train") -> Labelled:
    """All of a part of CIFAR-100: images uint8 (n, 32, 32, 3), fine labels int (n,), the names of the classes.

    `place` is as for `load_outliers`; DatasetError where CIFAR-100 isn't there.
    """
    path = _find(place)
    with _readable(path):
        found = _cifar100(path, part)
    if found is None:
        raise DatasetError(f"{path} holds no CIFAR-100.\n{THREE_WAYS}")
    return found


def is_available() -> bool:
    """Whether CIFAR-100 is at hand, by CIFAR100_DIR or in Keras's cache; nothing of it is read."""
    try:
        _find(CIFAR100)
    except DatasetError:
        return False
    return True


def _open_cache(entry: Path) -> Outliers | None:
    try:
        with np.load(entry, allow_pickle=False) as stored:
            left_out = {str(reason): int(n) for reason, n in zip(stored["reasons"], stored["numbers"], strict=True)}
            return Outliers(stored["images"], str(stored["title"]), left_out)
    except (OSError, ValueError, KeyError, EOFError):
        return None


def _find(place: str) -> Path:
    if place != CIFAR100:
        path = Path(os.path.expanduser(place)).absolute()
        if not path.exists():
            raise DatasetError(f"{path} does not exist.\n{THREE_WAYS}")
        return path
    if given := os.environ.get("CIFAR100_DIR"):
        path = Path(os.path.expanduser(given)).absolute()
        if not path.exists():
            raise DatasetError(f"CIFAR100_DIR names {path}, which does not exist.\n{THREE_WAYS}")
        return path
    places = (folder / name for folder in find.keras_folders() for name in _KERAS_PLACES)
    if path := next((path for path in places if path.exists()), None):
        return path
    raise DatasetError(f"No CIFAR-100 found: no CIFAR100_DIR, none in Keras's cache.\n{THREE_WAYS}")


def _read(path: Path, part: str) -> Outliers:
    with _readable(path):
        found = _cifar100(path, part)
        return _from_folder(path) if found is None else _without_near(*found)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{error.filename or path} can't be read: {error.strerror or error}.") from error


def _cifar100(path: Path, part: str) -> Labelled | None:
    """None where there are other files."""
    if path.is_file():
        return _from_archive(path, part)
    if shards := sorted(file for file in path.rglob("*.parquet") if part in file.name):
        return _from_parquet(shards)
    for folder in (path, path / "cifar-100-python"):
        if (folder / part).is_file():
            return _from_pickle(folder / part, (folder / part).read_bytes())
        if (folder / "cifar-100-python.tar.gz").is_file():
            return _from_archive(folder / "cifar-100-python.tar.gz", part)
    return None


def _from_archive(path: Path, part: str) -> Labelled:
    try:
        with tarfile.open(path) as archive:
            member = next((one for one in archive if Path(one.name).name == part and one.isreg()), None)
            content = archive.extractfile(member) if member and member.size <= MAX_CIFAR100_MEMBER else None
            if content is None:
                raise DatasetError(f"{path} holds no {part!r} file of CIFAR-100.\n{THREE_WAYS}")
            return _from_pickle(path / part, content.read())
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DatasetError(f"{path} is no archive of CIFAR-100 ({error}).\n{THREE_WAYS}") from error


def _from_pickle(file: Path, data: bytes) -> Labelled:
    images, labels = cifar100_batch(file, data)
    return images, labels, FINE_NAMES


def _from_parquet(shards: list[Path]) -> Labelled:
    parts = [read_rows(file, file, ("fine_label", "label")) for file in shards]
    images, labels, said = zip(*parts, strict=True)
    stored = next((one[b"names"] for one in said if one.get(b"names")), b"").decode("utf-8", "replace")
    return np.concatenate(images), np.concatenate(labels), tuple(stored.split(",")) if stored else FINE_NAMES


def _from_folder(path: Path) -> Outliers:
    files = find_images([path])
    if not files:
        raise DatasetError(f"{path} holds neither CIFAR-100 nor pictures.\n{THREE_WAYS}")
    images, unreadable = [], 0
    for file in files:
        try:
            images.append(load_image(file))
        except LabError:
            unreadable += 1
    if not images:
        raise DatasetError(f"None of the {len(files):,} files in {path} can be read as a picture.")
    return Outliers(np.stack(images), f"the folder {path.name}", {"unreadable": unreadable})


def _without_near(images: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Outliers:
    near = np.isin(labels, [names.index(name) for name in LEFT_OUT if name in names])
    words = " or ".join(name.replace("_", " ") for name in LEFT_OUT)
    return Outliers(images[~near], "CIFAR-100", {f"of {words}": int(near.sum())})


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Mean colours of 4×4 blocks: uint8 (n, 32, 32, 3) to float32 (n, 192), grey levels."""
    n = len(images)
    blocks = np.asarray(images).reshape(n, 8, 4, 8, 4, 3)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(n, 192)


def _without_twins(outliers: Outliers, known: np.ndarray) -> Outliers:
    ours, others = thumbnails(known), thumbnails(outliers.images)
    squares = (ours**2).sum(axis=1)
    nearest = np.full(len(others), np.inf, np.float32)
    for start in range(0, len(others), 500):
        some = others[start : start + 500]
        apart = squares - 2 * some @ ours.T
        nearest[start : start + 500] = apart.min(axis=1) + (some**2).sum(axis=1)
    twins = np.sqrt(np.maximum(nearest, 0) / others.shape[1]) < TWIN_DISTANCE
    return Outliers(
        outliers.images[~twins], outliers.title, outliers.left_out | {"duplicates of CIFAR-10 images": int(twins.sum())}
    )
