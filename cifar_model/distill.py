"""Distil CIFAR-10 into a few hundred synthetic pictures, and read those that ship. TensorFlow comes with distilling.

Dataset distillation (Wang et al. 2018, arXiv:1811.10959) treats pixels as weights: the pictures are optimised until
a network that learns from them alone answers real photographs well. The method here follows "neural feature
regression" (Zhou, Nezhadarya & Ba 2022, arXiv:2206.00719): small networks, at many stages of their own training on
the pictures, give features; ridge regression from the pictures' features to their labels has a closed form, so its
error on real photographs has an exact gradient for every pixel, with no training loop to differentiate through.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cifar_model.architectures import PIXEL_MEAN, PIXEL_VARIANCE, SEED_FILTERS
from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.dataset import MINI, Split, mini_dir
from cifar_model.errors import DatasetError, SettingsError
from cifar_model.files import replacing
from cifar_model.models import read_json, write_json

PARTS = ("train", "validation")
CLASSES = len(CLASS_NAMES)

# Lowest and highest admitted value of each number in DistillSettings.
LIMITS = {
    "per_class": (1, 150),
    "validation_per_class": (1, 150),
    "iterations": (1, 1_000_000),
    "seed": (0, 2**31 - 1),
}
MOST_PER_CLASS = 160  # in both parts together, so that the sheets stay below 4 MB: they live in the repository

MIXED = 4  # real pictures of the class whose mean a picture starts from
HELD_OUT = 5_000  # training images that the validation pictures are made from, and the training pictures are not
SUPPORT = 50  # pictures a class in an iteration
REAL = 100  # photographs a class in an iteration
RATE = 0.04  # Adam's step for a frequency, in standard deviations of the photographs'; falls to 0 along a cosine
RIDGE = 2.0  # share of the mean eigenvalue
SHIFT = 3  # pixels; largest random translation of the pictures, as where networks learn from them
POOL = 4  # networks that learn meanwhile
POOL_RATE, POOL_BATCH, POOL_STEPS = 2e-3, 128, 2  # Adam's step for their weights; pictures a step; steps a turn
OLDEST = 400  # steps after which a network makes room for a new one
SAVE_SECONDS = 60.0

Report = Callable[[str, dict], None]


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """What decides the pictures, apart from the data. SettingsError on a value outside `LIMITS`."""

    per_class: int = 100
    validation_per_class: int = 20
    iterations: int = 2400
    seed: int = 0

    def __post_init__(self):
        for field, (low, high) in LIMITS.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingsError(f"{field} is {value!r}; it must be a whole number from {low} to {high}.")
        if (total := self.per_class + self.validation_per_class) > MOST_PER_CLASS:
            raise SettingsError(
                f"per_class and validation_per_class are {total} together; at most {MOST_PER_CLASS} keep the files "
                "below 4 MB."
            )


# Reading and writing the pictures


def read_mini(folder: str | os.PathLike | None = None) -> tuple[Split, Split]:
    """Distilled pictures as `(x_train, y_train), (x_validation, y_validation)`, by class and in the sheet's order.

    Pictures are uint8 (n, 32, 32, 3), RGB; labels int64 (n,), 0 to 9. `folder` defaults to those that ship.

    Raises DatasetError: no sheets there, or files that are not such sheets.
    """
    folder = Path(folder or mini_dir())
    return tuple(_read_sheet(folder / f"{part}.png") for part in PARTS)


def mini_card(folder: str | os.PathLike | None = None) -> dict:
    """How distilled pictures were made and what they are worth. Raises ModelError where there is no such card."""
    return read_json(Path(folder or mini_dir()) / "card.json")


def write_mini(folder: str | os.PathLike, train: np.ndarray, validation: np.ndarray, card: dict) -> None:
    """Write both sheets and the card.

    Parameters
    ----------
    folder : made where it is missing
    train, validation : uint8 (10, n, 32, 32, 3): n pictures of each class, in the order of CLASS_NAMES

    Raises LabError where the folder can't be written to.
    """
    from cifar_model.images import encode_png

    folder = Path(folder)
    _make_folder(folder)
    for part, pictures in zip(PARTS, (train, validation), strict=True):
        with replacing(folder / f"{part}.png") as temporary:
            temporary.write_bytes(encode_png(_sheet(pictures)))
    write_json(folder / "card.json", card)


def _sheet(pictures: np.ndarray) -> np.ndarray:
    """(10, n, 32, 32, 3) -> (320, 32·n, 3): a row of pictures for each class."""
    classes, n = pictures.shape[:2]
    return pictures.transpose(0, 2, 1, 3, 4).reshape(classes * IMAGE_SIZE, n * IMAGE_SIZE, 3)


def _read_sheet(path: Path) -> Split:
    from PIL import Image

    try:
        with Image.open(path) as sheet:
            sheet_format, mode, (width, height) = sheet.format, sheet.mode, sheet.size
            n, rest = divmod(width, IMAGE_SIZE)
            if sheet_format != "PNG" or mode != "RGB" or rest or not n or height != CLASSES * IMAGE_SIZE or n > 1000:
                raise DatasetError(
                    f"{path} is a {sheet_format} of {width}×{height} pixels ({mode}); expected a PNG of RGB pixels, "
                    f"{CLASSES * IMAGE_SIZE} high and a multiple of {IMAGE_SIZE} wide: one row of pictures a class."
                )
            pixels = np.asarray(sheet)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing. Make it: python -m cifar_model distill --out FOLDER") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} can't be read as a picture: {error}.") from error
    pictures = pixels.reshape(CLASSES, IMAGE_SIZE, n, IMAGE_SIZE, 3).transpose(0, 2, 1, 3, 4)
    return pictures.reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3), np.repeat(np.arange(CLASSES), n)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"Can't make the folder {folder}: {error.strerror or error}.") from error


# Is any picture a copy?


def nearest_pictures(
    pictures: np.ndarray,
    bank: np.ndarray,
    *,
    shift: int = 3,
    candidates: int = 20,
    exclude: np.ndarray | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest picture of `bank` to each of `pictures`, after the best alignment of shift, mirror and colour.

    A picture's centre, `shift` pixels from the border, is held against every equally large part of each bank picture
    and of its mirror image. Each part first loses the mean of every channel (brightness, colour cast), then its
    standard deviation (contrast). The bank is searched at half resolution, by every other shift; the `candidates`
    best of that are compared exactly.

    Parameters
    ----------
    pictures : uint8 (n, 32, 32, 3)
    bank : uint8 (m, 32, 32, 3)
    shift : largest translation along both axes, pixels
    exclude : int (n,), a bank picture that doesn't count, for each picture (itself); None for none
    report : called with the bank pictures searched so far, and all

    Returns
    -------
    index : int64 (n,)
    distance : float32 (n,)
        Root mean square difference of the aligned parts, 0 (equal) to 2; two unrelated parts have √2.
    """
    candidates = min(candidates, len(bank) - (exclude is not None))
    halves = _aligned_parts(_halve(pictures), shift // 2, centre=True)[:, 0]
    likeness = np.full((len(pictures), len(bank)), -2, np.float32)
    for start in range(0, len(bank), 2000):
        parts = _aligned_parts(_halve(bank[start : start + 2000]), shift // 2)
        for place in range(parts.shape[1]):
            found = likeness[:, start : start + 2000]
            np.maximum(found, halves @ parts[:, place].T, out=found)
        report(min(start + 2000, len(bank)), len(bank))
    if exclude is not None:
        likeness[np.arange(len(pictures)), exclude] = -3
    best = np.argpartition(-likeness, candidates - 1, axis=1)[:, :candidates]
    centres = _aligned_parts(pictures, shift, centre=True)[:, 0]
    index, distance = np.empty(len(pictures), np.int64), np.empty(len(pictures), np.float32)
    for number, (centre, near) in enumerate(zip(centres, best, strict=True)):
        exact = (_aligned_parts(bank[near], shift) @ centre).max(axis=1)
        index[number] = near[exact.argmax()]
        distance[number] = np.sqrt(max(0.0, 2 - 2 * exact.max()))
    return index, distance


def _halve(pictures: np.ndarray) -> np.ndarray:
    n, side = pictures.shape[:2]
    return pictures.reshape(n, side // 2, 2, side // 2, 2, 3).mean(axis=(2, 4), dtype=np.float32)


def _aligned_parts(pictures: np.ndarray, shift: int, *, centre: bool = False) -> np.ndarray:
    """float32 (n, places, d): every part at every place, or the centre alone, as vectors of length 1."""
    n, size = pictures.shape[0], pictures.shape[1] - 2 * shift
    if centre:
        parts = pictures[:, None, shift : shift + size, shift : shift + size]
    else:
        both = np.concatenate([pictures[:, None], pictures[:, None, :, ::-1]], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(both, (size, size), axis=(2, 3))
        parts = windows.transpose(0, 1, 2, 3, 5, 6, 4).reshape(n, -1, size, size, 3)  # (n, 2, k, k, 3, …) before
    parts = parts.astype(np.float32)
    parts -= parts.mean(axis=(2, 3), keepdims=True)
    parts = parts.reshape(n, parts.shape[1], -1)
    return parts / np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), 1e-3)


def copy_check(pictures: np.ndarray, bank: np.ndarray, *, report: Report = lambda kind, record: None) -> dict:
    """How far `pictures` are from their nearest photograph in `bank`, and that one from its own nearest.

    Returns
    -------
    dict
        ``to_nearest`` and ``nearest_to_its_nearest``: {"median", "least"} of the distances of `nearest_pictures`;
        ``farther``: share of the pictures that are farther from their nearest photograph than that is from its own.
    """

    def progress(stage):
        return lambda done, total: report("progress", {"stage": stage, "done": done, "total": total, "text": ""})

    index, ours = nearest_pictures(pictures, bank, report=progress("nearest photographs"))
    _, theirs = nearest_pictures(bank[index], bank, exclude=index, report=progress("nearest of the nearest"))

    def summary(distances):
        return {"median": round(float(np.median(distances)), 4), "least": round(float(distances.min()), 4)}

    return {
        "to_nearest": summary(ours),
        "nearest_to_its_nearest": summary(theirs),
        "farther": round(float((ours > theirs).mean()), 4),
        "photographs": len(bank),
        "measure": "root mean square difference of the central 26×26 pixels after the best shift (±3 pixels), mirror, "
        "brightness, colour cast and contrast; 0 = equal, 1.41 = unrelated",
    }


# Distilling


def distill(
    data: tuple[Split, Split],
    out: str | os.PathLike,
    settings: DistillSettings,
    *,
    describe: Callable[[np.ndarray, np.ndarray], dict] | None = None,
    command: str = "",
    report: Report = lambda kind, record: None,
) -> dict:
    """Make the pictures and write them to the folder `out`, with their card.

    The training pictures see all training images but the last 5,000 (a quarter, where there are fewer than 20,000),
    the validation pictures those alone, and networks of their own. A call that was broken off goes on from its last
    checkpoint, which lies in `out` until all is done.

    Parameters
    ----------
    data : as from `dataset.load_cifar10`
    describe : called with both parts, uint8 (10, n, 32, 32, 3); what it answers joins the card
    command : what a person types to repeat this, for the card
    report : called with ("progress", {stage, done, total, text}) and ("note", {message})

    Returns
    -------
    dict
        The card.

    Raises
    ------
    SettingsError
        Where `out` holds unfinished pictures of other settings or data, or finished ones.
    DatasetError
        Where a class has too few pictures.
    """
    import filelock

    out = Path(out)
    if (out / "card.json").exists() and not any(_checkpoint(out, part).exists() for part in PARTS):
        raise SettingsError(f"{out} holds finished pictures. Name another folder with --out, or delete them first.")
    _make_folder(out)
    lock = filelock.FileLock(out / ".lock", timeout=0)
    try:
        with lock:
            try:
                return _distill(data, out, settings, describe, command, report)
            finally:
                with suppress(OSError):
                    os.unlink(lock.lock_file)
    except filelock.Timeout:
        raise SettingsError(f"Another process makes pictures in {out}: wait for it, or name another folder.") from None


def _distill(data, out, settings, describe, command, report) -> dict:
    from cifar_model.backend import import_keras

    import_keras()
    (images, labels), _ = data
    first_held = len(labels) - min(HELD_OUT, len(labels) // 4)
    made_from = {"train": (0, first_held), "validation": (first_held, len(labels))}
    made, seconds = {}, 0.0
    for number, part in enumerate(PARTS):
        per_class = settings.per_class if part == "train" else settings.validation_per_class
        # Of many pictures a share takes part in each iteration; all shall take part equally often.
        share = min(1.0, SUPPORT / settings.per_class)
        iterations = settings.iterations if part == "train" else max(1, round(settings.iterations * share))
        rows = slice(*made_from[part])
        maker = _Maker(
            np.asarray(images[rows]),
            np.asarray(labels[rows]),
            per_class,
            iterations,
            seed=(settings.seed, number),
            checkpoint=_checkpoint(out, part),
            identity=json.dumps([asdict(settings), _constants(), part, len(labels), int(np.sum(images[:100]))]),
        )
        made[part] = maker.run(lambda record, part=part: report("progress", {"stage": f"{part} pictures"} | record))
        seconds += maker.seconds
    card = {
        "method": "neural feature regression (Zhou et al. 2022, arXiv:2206.00719) with small convolutional networks "
        f"that learn from the pictures meanwhile; each picture began as the mean of {MIXED} photographs",
        "settings": asdict(settings) | _constants(),
        "per_class": {part: pictures.shape[1] for part, pictures in made.items()},
        "made_from": {part: f"training images {low + 1:,} to {high:,}" for part, (low, high) in made_from.items()},
        "seconds": round(seconds, 1),
        "command": command,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    # What follows may take minutes too, and be broken off: the pictures are there already.
    write_mini(out, made["train"], made["validation"], card)
    if describe:
        began = time.perf_counter()
        card |= describe(made["train"], made["validation"])
        card["check_seconds"] = round(time.perf_counter() - began, 1)
        write_json(out / "card.json", card)
    for part in PARTS:
        _checkpoint(out, part).unlink(missing_ok=True)
    return card


def _checkpoint(out: Path, part: str) -> Path:
    return out / f"checkpoint-{part}.npz"


def _constants() -> dict:
    return {
        "start": f"mean of {MIXED} photographs",
        "pictures_an_iteration": SUPPORT * CLASSES,
        "photographs_an_iteration": REAL * CLASSES,
        "pixel_rate": RATE,
        "ridge": RIDGE,
        "shift": SHIFT,
        "networks": POOL,
        "network_steps": OLDEST,
    }


class _Maker:
    """One part's pictures, on their way; everything random follows from the seed and the iteration."""

    def __init__(self, images, labels, per_class, iterations, *, seed, checkpoint: Path, identity: str):
        self.images, self.labels, self.iterations, self.seed = images, labels, iterations, seed
        self.checkpoint, self.identity = checkpoint, identity
        self.members = [np.flatnonzero(labels == label) for label in range(CLASSES)]
        if (fewest := min(map(len, self.members))) < MIXED:
            raise DatasetError(f"A class has {fewest} training pictures; at least {MIXED} are needed of each.")
        self.mean = np.asarray(PIXEL_MEAN, np.float32)
        self.deviation = np.sqrt(np.asarray(PIXEL_VARIANCE, np.float32))
        self.low, self.high = -self.mean / self.deviation, (255 - self.mean) / self.deviation
        self.graph = _Graph()
        rng = np.random.default_rng((*seed, 0))
        self.done, self.seconds = 0, 0.0
        self.pixels = self._start(per_class, rng)  # (10, n, 32, 32, 3), in standard deviations
        self.moments = np.zeros((2, *self.pixels.shape), np.float32)
        # Weights and Adam's two moments of each network; how many steps it has made and may make.
        self.pool = np.stack([self.graph.new_network(rng) for _ in range(POOL)])
        self.ages = np.zeros(POOL, int)
        self.spectrum = self._spectrum()
        if not self._restore():
            for turn in range(POOL):  # of all ages from the start
                for _ in range(turn * OLDEST // POOL):
                    self._teach(turn, rng)

    def _start(self, per_class: int, rng: np.random.Generator) -> np.ndarray:
        """Means of `MIXED` photographs of the class, each mirrored or not, with a photograph's contrast again."""
        pixels = np.empty((CLASSES, per_class, IMAGE_SIZE, IMAGE_SIZE, 3), np.float32)
        for label, members in enumerate(self.members):
            for number in range(per_class):
                chosen = self._scaled(self.images[rng.choice(members, MIXED, replace=False)])
                mirrored = rng.random(MIXED) < 0.5
                chosen[mirrored] = chosen[mirrored][:, :, ::-1]
                mixed = chosen.mean(axis=0)
                centre = mixed.mean(axis=(0, 1))
                contrast = chosen.std(axis=(1, 2)).mean() / max(1e-3, mixed.std(axis=(0, 1)).mean())
                pixels[label, number] = (mixed - centre) * contrast + centre
        return np.clip(pixels, self.low, self.high)

    def _scaled(self, images: np.ndarray) -> np.ndarray:
        return (images.astype(np.float32) - self.mean) / self.deviation

    def run(self, report: Callable[[dict], None]) -> np.ndarray:
        """Iterate to the end; uint8 (10, n, 32, 32, 3)."""
        mark = saved = time.perf_counter()
        first, since = self.done, mark
        try:
            while self.done < self.iterations:
                loss = self.iterate()
                now = time.perf_counter()
                self.seconds, mark = self.seconds + now - mark, now
                left = (self.iterations - self.done) * (now - since) / (self.done - first)
                text = f"error on photographs {loss:.4f}, {left:,.0f} s left"
                report({"done": self.done, "total": self.iterations, "text": text, "loss": loss})
                if now - saved > SAVE_SECONDS:
                    self.save()
                    saved = now
        finally:
            if self.done > first:
                self.save()
        return np.rint(self.pixels * self.deviation + self.mean).clip(0, 255).astype(np.uint8)

    def iterate(self) -> float:
        """Improve some pictures by what one network makes of them, then let that network learn from them."""
        rng = np.random.default_rng((*self.seed, 1 + self.done))
        turn = self.done % POOL
        network = self.pool[turn]
        n = self.pixels.shape[1]
        share = min(SUPPORT, n)
        chosen = np.stack([rng.permutation(n)[:share] for _ in range(CLASSES)])
        rows = np.arange(CLASSES)[:, None], chosen
        photographs = np.concatenate([rng.choice(members, REAL) for members in self.members])
        real = self._scaled(self.images[photographs])
        mirrored = rng.random(len(real)) < 0.5
        real[mirrored] = real[mirrored][:, :, ::-1]
        pictures = self.pixels[rows].reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)
        loss, gradient = self.graph.improve(
            network[0], pictures, _targets(share), *_places(len(pictures), rng), real, _targets(REAL)
        )
        self._step(rows, gradient.numpy().reshape(self.pixels[rows].shape))
        for _ in range(POOL_STEPS):
            self._teach(turn, rng)
        if self.ages[turn] >= OLDEST:
            self.pool[turn], self.ages[turn] = self.graph.new_network(rng), 0
        self.done += 1
        return float(loss)

    def _teach(self, turn: int, rng: np.random.Generator) -> None:
        """One step of that network's own learning from the pictures."""
        weights, first, second = self.pool[turn]
        classes, n = self.pixels.shape[:2]
        batch = rng.choice(classes * n, min(POOL_BATCH, classes * n), replace=False)
        pictures = self.pixels.reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)[batch]
        gradient = self.graph.learn(weights, pictures, batch // n, *_places(len(batch), rng)).numpy()
        self.ages[turn] += 1
        _adam(weights, first, second, gradient, POOL_RATE, self.ages[turn])

    def _spectrum(self) -> np.ndarray:
        """float32 (32, 32, 3): standard deviation of each cosine frequency over photographs."""
        return _frequencies(self._scaled(self.images[:2000])).std(axis=0) + 1e-3

    def _step(self, rows, gradient: np.ndarray) -> None:
        # Steps along frequencies, each in photographs' own proportion: pixel-wise ones would leave noise that no
        # photograph has (Olah, Mordvintsev & Schubert 2017, "Feature Visualization", on preconditioning).
        rate = RATE * 0.5 * (1 + np.cos(np.pi * self.done / self.iterations))
        first, second = self.moments[0][rows], self.moments[1][rows]
        turns = 1 + self.done * len(rows[1][0]) / self.pixels.shape[1]  # how often a picture has moved, about
        change = np.zeros_like(gradient)
        _adam(change, first, second, _frequencies(gradient) * self.spectrum, rate, turns)
        pixels = self.pixels[rows] + _frequencies(change * self.spectrum, back=True)
        self.pixels[rows] = np.clip(pixels, self.low, self.high)
        self.moments[0][rows], self.moments[1][rows] = first, second

    # A checkpoint holds all that changes, so that a resumed run makes the same pictures.
    _CHANGING = ("done", "seconds", "pixels", "moments", "pool", "ages")

    def save(self) -> None:
        with replacing(self.checkpoint) as temporary:
            np.savez(temporary, identity=self.identity, **{name: getattr(self, name) for name in self._CHANGING})

    def _restore(self) -> bool:
        if not self.checkpoint.exists():
            return False
        try:
            with np.load(self.checkpoint) as stored:
                identity = str(stored["identity"])
                values = {name: stored[name] for name in self._CHANGING}
        except Exception as error:  # NumPy and zipfile raise many kinds on a broken file
            raise DatasetError(f"{self.checkpoint} can't be read: {error}. Delete it to begin anew.") from error
        if identity != self.identity:
            raise SettingsError(
                f"{self.checkpoint} is of other settings or data: {identity}, not {self.identity}. Repeat the command "
                "with those to go on, delete the file to begin anew, or name another folder with --out."
            )
        for name, value in values.items():
            setattr(self, name, value.item() if value.ndim == 0 else value)
        return True


def _frequencies(pictures: np.ndarray, *, back: bool = False) -> np.ndarray:
    """(…, 32, 32, 3) as cosine frequencies (orthonormal DCT-II) of brightness and two opponent colours; or back."""
    basis, colours = (_COSINES.T, _COLOURS.T) if back else (_COSINES, _COLOURS)
    rows = np.einsum("uh,...hwc->...uwc", basis, pictures @ colours.T, optimize=True)
    return np.einsum("vw,...uwc->...uvc", basis, rows, optimize=True)


def _cosines(size: int) -> np.ndarray:
    k, x = np.mgrid[:size, :size]
    return (np.sqrt((1 + (k > 0)) / size) * np.cos(np.pi * k * (2 * x + 1) / (2 * size))).astype(np.float32)


_COSINES = _cosines(IMAGE_SIZE)
# Red, green and blue go together in photographs; brightness, red against blue and green against both hardly do.
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
_COLOURS /= np.linalg.norm(_COLOURS, axis=1, keepdims=True)


def _adam(weights, first, second, gradient, rate, turns) -> None:
    """One step of Adam (Kingma & Ba 2015) on arrays, in place; `turns` counts from 1."""
    first += 0.1 * (gradient - first)
    second += 0.001 * (gradient**2 - second)
    weights -= rate * (first / (1 - 0.9**turns)) / (np.sqrt(second / (1 - 0.999**turns)) + 1e-8)


def _targets(per_class: int) -> np.ndarray:
    return np.repeat(np.eye(CLASSES, dtype=np.float32), per_class, axis=0)


def _places(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row and column indices int32 (n, 32) of each picture, shifted (reflected at the border) and mirrored."""
    side = np.arange(IMAGE_SIZE)
    rows, columns = (side + rng.integers(-SHIFT, SHIFT + 1, (n, 1)) for _ in range(2))
    last = IMAGE_SIZE - 1
    rows, columns = (last - np.abs(last - np.abs(index)) for index in (rows, columns))
    columns = np.where(rng.random((n, 1)) < 0.5, columns[:, ::-1], columns)
    return rows.astype(np.int32), columns.astype(np.int32)


class _Graph:
    """The networks' mathematics: seed-cnn without dropout, all weights in one float32 vector."""

    def __init__(self):
        import tensorflow as tf

        self.tf = tf
        shapes, channels = [], 3
        for width in SEED_FILTERS:
            shapes += [(3, 3, channels, width), (width,), (width,), (width,)]  # kernel, bias, scale, offset
            channels = width
        self.depth = 4 * 4 * channels
        shapes += [(self.depth, 64), (64,), (64, CLASSES), (CLASSES,)]
        self.shapes = shapes
        self.sizes = [int(np.prod(shape)) for shape in shapes]
        self.improve = tf.function(self._improve, reduce_retracing=True)
        self.learn = tf.function(self._learn, reduce_retracing=True)

    def new_network(self, rng: np.random.Generator) -> np.ndarray:
        """float32 (3, weights): He initialisation (He et al. 2015), then zeros for Adam's moments."""
        parts = []
        for number, shape in enumerate(self.shapes):
            if len(shape) > 1:
                parts.append(rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape))
            else:
                parts.append(np.full(shape, float(number < 12 and number % 4 == 2)))  # scales are 1
        weights = np.concatenate([part.ravel() for part in parts]).astype(np.float32)
        return np.stack([weights, np.zeros_like(weights), np.zeros_like(weights)])

    def _split(self, vector):
        tf = self.tf
        return [tf.reshape(w, s) for w, s in zip(tf.split(vector, self.sizes), self.shapes, strict=True)]

    def _features(self, weights, x, statistics=None):
        """(n, 1024), and the batch statistics of each layer; those of another batch are used where given."""
        tf = self.tf
        used = []
        for block in range(len(SEED_FILTERS)):
            kernel, bias, scale, offset = weights[4 * block : 4 * block + 4]
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias)
            mean, variance = tf.nn.moments(x, (0, 1, 2)) if statistics is None else statistics[block]
            used.append((mean, variance))
            x = (x - mean) * (tf.math.rsqrt(variance + 1e-3) * scale) + offset
            if block < len(SEED_FILTERS) - 1:
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        return tf.reshape(x, (-1, self.depth)), used

    def _move(self, x, rows, columns):
        tf = self.tf
        x = tf.gather(x, rows, axis=1, batch_dims=1)
        x = tf.gather(tf.transpose(x, (0, 2, 1, 3)), columns, axis=1, batch_dims=1)
        return tf.transpose(x, (0, 2, 1, 3))

    def _improve(self, vector, pictures, targets, rows, columns, real, real_targets):
        """Error of ridge regression, fitted to the pictures' features, on photographs; and its gradient to pixels."""
        tf = self.tf
        weights = self._split(vector)
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            ours, statistics = self._features(weights, self._move(pictures, rows, columns))
            # Photographs meet the statistics of the pictures, as they will where a network has learned from these.
            fixed = [tuple(map(tf.stop_gradient, pair)) for pair in statistics]
            theirs, _ = self._features(weights, real, fixed)
            kernel = tf.matmul(ours, ours, transpose_b=True)
            n = tf.shape(kernel)[0]
            ridge = RIDGE * tf.linalg.trace(kernel) / tf.cast(n, tf.float32)
            solution = tf.linalg.solve(kernel + ridge * tf.eye(n), targets - 0.1)
            answers = tf.matmul(tf.matmul(theirs, ours, transpose_b=True), solution)
            loss = tf.reduce_mean(tf.reduce_sum((answers - (real_targets - 0.1)) ** 2, axis=1))
        return loss, tape.gradient(loss, pictures)

    def _learn(self, vector, pictures, labels, rows, columns):
        """Gradient of the cross-entropy for all weights."""
        tf = self.tf
        with tf.GradientTape() as tape:
            tape.watch(vector)
            weights = self._split(vector)
            features, _ = self._features(weights, self._move(pictures, rows, columns))
            hidden = tf.nn.relu(features @ weights[12] + weights[13])
            logits = hidden @ weights[14] + weights[15]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return tape.gradient(loss, vector)


# What the pictures are worth


def score(
    pictures: Split,
    test: Split,
    *,
    seed: int = 0,
    network: str = "seed-cnn",
    recipe: str = "quick",
    epochs: int | None = None,
) -> tuple[float, float]:
    """Train `network` on `pictures` alone, as ``train --data mini`` does, and score it on `test`.

    Returns
    -------
    accuracy : share of `test` answered rightly, 0–1, after the last epoch (validation picks nothing)
    seconds : that the training took
    """
    from cifar_model.architectures import build_network, mirror_average, set_whitening
    from cifar_model.backend import import_keras
    from cifar_model.optimizers import build_optimizer
    from cifar_model.recipes import Settings, resolution_at, schedule_factor
    from cifar_model.training import epoch_batches, shrink

    keras = import_keras()
    settings = Settings(network=network, recipe=recipe, epochs=epochs, data=MINI, seed=seed)
    details, grows = settings.details, network == "lab-net"
    keras.utils.set_random_seed(seed)
    images, labels = (np.tile(array, (details.passes, *[1] * (array.ndim - 1))) for array in pictures)
    learner = build_network(network, any_size=grows)
    set_whitening(learner, pictures[0])
    for layer in learner.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, 0.9)
    learner.compile(
        build_optimizer(settings.optimizer, settings.learning_rate),
        keras.losses.CategoricalCrossentropy(label_smoothing=details.label_smoothing),
        jit_compile=False,
    )
    total = settings.epochs * (len(images) // min(settings.batch_size, len(images)))
    began, step = time.perf_counter(), 0
    for epoch in range(1, settings.epochs + 1):
        sized = shrink(images, resolution_at(details, step / total))
        for batch, targets in epoch_batches(sized, labels, settings=settings, epoch=epoch):
            learner.optimizer.learning_rate = settings.learning_rate * schedule_factor(details, step / total)
            learner.train_on_batch(batch, targets)
            step += 1
    seconds = time.perf_counter() - began
    if grows:
        learner, weights = build_network(network), learner.get_weights()
        learner.set_weights(weights)
        learner = mirror_average(learner)
    answers = learner.predict(test[0], batch_size=500, verbose=0)
    return float((answers.argmax(axis=1) == test[1]).mean()), seconds
