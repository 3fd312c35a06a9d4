"""Is this any of the ten? A score for pictures outside the classes, fitted without a single such picture.

The network's features of training pictures are compared with its features of the same pictures spoilt so that they
show nothing whole any more: shuffled, enlarged until only a part is left, pieced together, scrambled (`spoil`). A
logistic regression tells the two apart; added to it is how near the features lie, by angle, to the closest class's
mean. Both come from the pass of the network that answers.

Sources: Lee et al. 2018 (distances to class means, arXiv:1807.03888), Sun et al. 2022 (unit features,
arXiv:2204.06507), Tack et al. 2020 (shifted pictures as stand-ins for outliers, arXiv:2007.08176), Liu et al. 2023
(GEN, the entropy used here), Yang et al. 2022 (OpenOOD, comparison).
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from .classes import CLASS_NAMES, IMAGE_SIZE
from .errors import ModelError
from .files import replacing

METHOD = "spoilt pictures and class means"
FALSE_ALARMS = 0.05
SPOILT_IMAGES = 4_000

_RIDGE = 0.1  # times the number of pictures
_GEN_POWER = 0.1  # Liu et al. 2023
_MEANS_WEIGHT = 0.25


@dataclass(frozen=True)
class Scope:
    """A fitted score.

    Attributes
    ----------
    mean, scale : float32 (d + 3,), of the inputs of the regression on training pictures
    weights : float32 (d + 3,); bias : float
    centres : float32 (10, d), unit vectors: mean direction of each class's features
    units : float32 (2, 2), mean and spread of the two parts on held-out pictures
    threshold : float; a picture that scores below it is called out of scope
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float
    centres: np.ndarray
    units: np.ndarray
    threshold: float

    method = METHOD

    def score(self, features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """How much each picture looks like one of the ten classes.

        Parameters
        ----------
        features : float32 (n, d), see `architectures.with_features`
        probabilities : float32 (n, 10), the network's own softmax, not calibrated

        Returns
        -------
        float32 (n,), higher = more in scope; about 0 ± 2 for pictures of the ten classes

        Raises
        ------
        ValueError
            Arrays that don't belong together, or features of another network.
        """
        features, probabilities = _checked(features, probabilities)
        if features.shape[1] != self.centres.shape[1]:
            raise ValueError(
                f"The score was fitted on {self.centres.shape[1]} features. Received: {features.shape[1]} a picture."
            )
        parts = self._parts(features, probabilities)
        return (((parts - self.units[0]) / self.units[1]) @ (1.0, _MEANS_WEIGHT)).astype(np.float32)

    def _parts(self, features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The two parts before they are brought to one unit: float (n, 2)."""
        inputs = (_inputs(features, probabilities) - self.mean) / self.scale
        nearest = (_unit(features) @ self.centres.T).max(axis=1)
        return np.stack([inputs @ self.weights + self.bias, nearest], axis=1)

    def save(self, path: str | os.PathLike) -> None:
        """Write the score to the file `path` (.npz), whole or not at all; LabError where it can't be written."""
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Scope":
        """Read a score that `save` wrote; ModelError where the file is missing, broken or something else."""
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as stored:
                scope = cls(**{
                    name: float(stored[name]) if name in ("bias", "threshold") else stored[name]
                    for name in cls.__dataclass_fields__
                })  # fmt: skip
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path} can't be read as an out-of-scope score: {error}.") from None
        d = scope.centres.shape[-1]
        wanted = {"mean": (d + 3,), "scale": (d + 3,), "weights": (d + 3,), "centres": (len(CLASS_NAMES), d)}
        for name, shape in (wanted | {"units": (2, 2)}).items():
            array = getattr(scope, name)
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ModelError(f"{path}: {name} is {array.dtype} {array.shape}, expected finite float32 {shape}.")
        return scope


def fit_scope(
    features: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    held_features: np.ndarray,
    held_probabilities: np.ndarray,
    *,
    spoilt_features: np.ndarray,
    spoilt_probabilities: np.ndarray,
) -> Scope:
    """Fit the score of one network.

    Parameters
    ----------
    features, labels, probabilities
        Of some thousand training pictures that went through `vary`: float32 (n, d), int64 (n,), float32 (n, 10), the
        network's own softmax.
    held_features, held_probabilities
        Of pictures that the network didn't learn from: of these, `FALSE_ALARMS` fall below the threshold.
    spoilt_features, spoilt_probabilities
        Of training pictures that went through `spoil`.

    Raises
    ------
    ValueError
        Arrays that don't belong together, or too few.
    """
    features, probabilities = _checked(features, probabilities)
    held_features, held_probabilities = _checked(held_features, held_probabilities)
    spoilt_features, spoilt_probabilities = _checked(spoilt_features, spoilt_probabilities)
    labels = np.asarray(labels)
    if labels.shape != features.shape[:1] or min(len(features), len(held_features), len(spoilt_features)) < 2:
        raise ValueError(
            "Each of the three sets needs pictures, and each training picture a label. Received: "
            f"{len(features)}, {len(held_features)} and {len(spoilt_features)} pictures, labels {labels.shape}."
        )
    whole, spoilt = _inputs(features, probabilities), _inputs(spoilt_features, spoilt_probabilities)
    mean, scale = whole.mean(axis=0), whole.std(axis=0) + 1e-6
    weights = _logistic((whole - mean) / scale, (spoilt - mean) / scale)
    directions = _unit(features)
    sums = np.stack([directions[labels == number].sum(axis=0) for number in range(len(CLASS_NAMES))])
    unfinished = Scope(
        mean.astype(np.float32),
        scale.astype(np.float32),
        weights[:-1].astype(np.float32),
        float(weights[-1]),
        _unit(sums).astype(np.float32),
        np.array([[0, 0], [1, 1]], np.float32),
        0.0,
    )
    parts = unfinished._parts(held_features, held_probabilities)
    units = np.stack([parts.mean(axis=0), parts.std(axis=0) + 1e-6]).astype(np.float32)
    fitted = Scope(**vars(unfinished) | {"units": units})
    threshold = float(np.quantile(fitted.score(held_features, held_probabilities), FALSE_ALARMS))
    return Scope(**vars(fitted) | {"threshold": threshold})


def _checked(features: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, probabilities = np.asarray(features, np.float32), np.asarray(probabilities, np.float32)
    if features.ndim != 2 or probabilities.shape != (len(features), len(CLASS_NAMES)):
        raise ValueError(
            "Features (n, d) and probabilities (n, 10) belong together. "
            f"Received: {features.shape} and {probabilities.shape}."
        )
    return features, probabilities


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)


def generalised_entropy(probabilities: np.ndarray) -> np.ndarray:
    """GEN (Liu et al. 2023): sum of (p (1 - p)) ** 0.1 over the classes, float (n,); higher = less sure."""
    probabilities = np.asarray(probabilities, float)
    return (np.maximum(probabilities * (1 - probabilities), 0) ** _GEN_POWER).sum(axis=1)


def _inputs(features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """What the regression sees: the features' direction (d), their length, and how torn the answer is; (n, d + 3)."""
    length = np.log(np.linalg.norm(features, axis=1) + 1e-9)
    answer = (length, generalised_entropy(probabilities), probabilities.max(axis=1))
    return np.concatenate([_unit(features), np.stack(answer, axis=1)], axis=1).astype(np.float64)


def _logistic(ones: np.ndarray, zeros: np.ndarray, steps: int = 12) -> np.ndarray:
    """Ridge logistic regression by Newton's method, both sides of equal weight: (d + 1,), the bias last."""
    x = np.concatenate([ones, zeros])
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    y = np.repeat([1.0, 0.0], [len(ones), len(zeros)])
    share = np.repeat([len(x) / 2 / len(ones), len(x) / 2 / len(zeros)], [len(ones), len(zeros)])
    ridge = np.full(x.shape[1], _RIDGE * len(x))
    ridge[-1] = 1e-6
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (share * (p - y)) + ridge * weights
        curve = (x * (share * p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < 1e-4:
            break
    return weights


# Pictures to learn from


def vary(images: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Every second picture resampled, sharpened or softened, with other contrast, brightness and colours.

    Photographs that a person brings differ from CIFAR-10's in just these, and shall not be flagged for it.

    Parameters
    ----------
    images : uint8 (n, 32, 32, 3)

    Returns
    -------
    uint8 (n, 32, 32, 3), the same for the same `images` and `seed`
    """
    rng = np.random.default_rng(seed)
    varied = np.array(images, np.uint8)
    for number in range(1, len(varied), 2):
        varied[number] = _varied(varied[number], rng)
    return varied


def _varied(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    edge = 2
    wide = np.pad(picture, ((edge, edge), (edge, edge), (0, 0)), mode="edge" if rng.random() < 0.5 else "reflect")
    side = rng.uniform(24, IMAGE_SIZE + 2 * edge)
    left, top = rng.uniform(0, IMAGE_SIZE + 2 * edge - side, 2)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    box = (left, top, left + side, top + side)
    image = Image.fromarray(wide).resize((IMAGE_SIZE, IMAGE_SIZE), filters[rng.integers(3)], box=box)
    image = ImageEnhance.Sharpness(image).enhance(rng.uniform(0.5, 2))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.3))
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.75, 1.3))
    return np.asarray(ImageEnhance.Color(image).enhance(rng.uniform(0.5, 1.4)))


def spoil(images: np.ndarray, n: int = SPOILT_IMAGES, *, seed: int = 0) -> np.ndarray:
    """Pictures made from pictures of the ten classes so that none of the ten is left to see whole.

    In turns: a corner, a part or a border strip enlarged; 2×2, 4×4 or 8×8 parts shuffled; four corners of
    four pictures; the spectrum with other phases; a mirrored tile; shapes in its colours; drowned in noise.

    Parameters
    ----------
    images : uint8 (k, 32, 32, 3), k ≥ 1
    n : how many to make

    Returns
    -------
    uint8 (n, 32, 32, 3), the same for the same `images`, `n` and `seed`
    """
    rng = np.random.default_rng(seed)
    made = [_SPOILERS[number % len(_SPOILERS)](images, rng) for number in range(n)]
    return np.array(made, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)


def outside_pictures(n: int, seed: int = 0) -> np.ndarray:
    """Generated pictures that show nothing: plain colours, gradients, noise, textures, checkerboards, stripes, shapes.

    Returns
    -------
    uint8 (n, 32, 32, 3), the same for the same `n` and `seed`
    """
    rng = np.random.default_rng(seed)
    made = [_OUTSIDE[number % len(_OUTSIDE)](rng) for number in range(n)]
    return np.array(made, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)


def _one(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(images[rng.integers(len(images))])


def _enlarged(picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, box=box))


def _corner(images, rng):
    side = rng.uniform(9, 15)
    left, top = (IMAGE_SIZE - side) * rng.integers(0, 2, 2)
    return _enlarged(_one(images, rng), (left, top, left + side, top + side))


def _part(images, rng):
    side = rng.uniform(7, 14)
    left, top = rng.uniform(0, IMAGE_SIZE - side, 2)
    return _enlarged(_one(images, rng), (left, top, left + side, top + side))


def _strip(images, rng):
    width, far = rng.uniform(5, 8), IMAGE_SIZE
    boxes = ((0, 0, far, width), (0, far - width, far, far), (0, 0, width, far), (far - width, 0, far, far))
    return _enlarged(_one(images, rng), boxes[rng.integers(4)])


def _shuffled(cells):
    def shuffle(images, rng):
        side = IMAGE_SIZE // cells
        parts = _one(images, rng).reshape(cells, side, cells, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        parts = parts[rng.permutation(cells * cells)].reshape(cells, cells, side, side, 3)
        return parts.swapaxes(1, 2).reshape(IMAGE_SIZE, IMAGE_SIZE, 3)

    return shuffle


def _pieced(images, rng):
    half = IMAGE_SIZE // 2
    corners = [(slice(0, half),) * 2, (slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))]
    corners.append((slice(half, None),) * 2)
    a, b, c, d = (_one(images, rng)[corners[number]] for number in rng.permutation(4))
    return np.vstack([np.hstack([a, b]), np.hstack([c, d])])


def _rephased(images, rng):
    spectrum = np.fft.fft2(_one(images, rng).astype(float), axes=(0, 1))
    phase = np.angle(np.fft.fft2(rng.normal(size=(IMAGE_SIZE, IMAGE_SIZE))))[..., None]
    # The channels keep their phases relative to one another, so colours stay those of photographs.
    moved = np.abs(spectrum) * np.exp(1j * (phase + np.angle(spectrum) - np.angle(spectrum[..., :1])))
    moved[0, 0] = spectrum[0, 0]
    return np.clip(np.fft.ifft2(moved, axes=(0, 1)).real, 0, 255).astype(np.uint8)


def _tiled(images, rng):
    half = IMAGE_SIZE // 2
    left, top = half * rng.integers(0, 2, 2)
    tile = _one(images, rng)[top : top + half, left : left + half]
    row = np.hstack([tile, tile[:, ::-1]])
    return np.roll(np.vstack([row, row[::-1]]), tuple(rng.integers(0, IMAGE_SIZE, 2)), (0, 1))


def _shapes(images, rng):
    return _draw_shapes(_one(images, rng).reshape(-1, 3), rng)


def _drowned(images, rng):
    noise = rng.uniform(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3))
    return (noise + rng.uniform(0, 0.4) * (_one(images, rng) - noise)).astype(np.uint8)


def _draw_shapes(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Discs, boxes, polygons or lines over one another ("dead leaves"), drawn large and scaled down."""
    side = 4 * IMAGE_SIZE

    def colour():
        return tuple(int(value) for value in colours[rng.integers(len(colours))])

    canvas = Image.new("RGB", (side, side), colour())
    draw, kind = ImageDraw.Draw(canvas), rng.integers(4)
    for _ in range(int(rng.integers(3, 60))):
        radius = min(side * 0.6, 6 / max(0.05, rng.random()))
        x, y = rng.uniform(0, side, 2)
        if kind == 0:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour())
        elif kind == 1:
            draw.rectangle((x - radius, y - radius * rng.uniform(0.2, 1), x + radius, y + radius), fill=colour())
        elif kind == 2:
            corners = rng.normal((x, y), radius, (int(rng.integers(3, 7)), 2))
            draw.polygon([tuple(corner) for corner in corners], fill=colour())
        else:
            draw.line([(x, y), tuple(rng.uniform(0, side, 2))], fill=colour(), width=int(rng.integers(2, 14)))
    return np.asarray(canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS))


_SPOILERS = (
    _corner, _part, _shuffled(2), _shuffled(4), _shuffled(8), _pieced, _rephased, _strip, _tiled, _shapes, _drowned,
)  # fmt: skip


def _grid() -> tuple[np.ndarray, np.ndarray]:
    return np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE].astype(float)


def _plain(rng):
    return np.broadcast_to(rng.integers(0, 256, 3), (IMAGE_SIZE, IMAGE_SIZE, 3))


def _between(share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two random colours, mixed by `share` (32, 32), 0–1."""
    first, second = rng.uniform(0, 255, (2, 3))
    return (first + share[..., None] * (second - first)).astype(np.uint8)


def _gradient(rng):
    y, x = _grid()
    angle = rng.uniform(0, 2 * np.pi)
    slope = x * np.cos(angle) + y * np.sin(angle)
    return _between((slope - slope.min()) / np.ptp(slope), rng)


def _noise(rng):
    return rng.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3))


def _texture(rng):
    """Noise whose power falls with frequency, as in clouds or stone."""
    y, x = np.meshgrid(np.fft.fftfreq(IMAGE_SIZE), np.fft.fftfreq(IMAGE_SIZE), indexing="ij")
    fall = np.maximum(np.hypot(x, y), 1 / IMAGE_SIZE) ** -rng.uniform(0.5, 2)
    waves = np.fft.ifft2(np.fft.fft2(rng.normal(size=(IMAGE_SIZE, IMAGE_SIZE))) * fall).real
    return _between((waves - waves.min()) / np.ptp(waves), rng)


def _checkerboard(rng):
    y, x = _grid()
    side = rng.integers(1, 9)
    return _between((y // side + x // side) % 2, rng)


def _stripes(rng):
    y, x = _grid()
    angle, length = rng.uniform(0, np.pi), rng.uniform(3, 16)
    return _between(0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / length), rng)


def _random_shapes(rng):
    return _draw_shapes(rng.integers(0, 256, (6, 3)), rng)


_OUTSIDE = (_plain, _gradient, _noise, _texture, _checkerboard, _stripes, _random_shapes)
