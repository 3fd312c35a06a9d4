"""Why: where in a picture the evidence for a class lies, and which training pictures are nearest to it.

Evidence is asked of the network by hiding what counts: the gradient of the class's log-odds says what each pixel adds
over what would stand in its place; the pixels that add most so far are hidden, and the network is asked again, until
30 % are hidden. The sum over these 16 versions is the heat. Hidden parts are painted in the picture's mean colour and
blurred in turn, so that neither one's own look passes for evidence. It is Integrated Gradients (Sundararajan et al.
2017) on a path that follows the evidence, as in Guided Integrated Gradients (Kapishnikov et al. 2021), and that leads
not to an empty picture but to where the evidence is gone (deletion: Fong & Vedaldi 2017), so that what the network
would fall back upon shows up too. Unlike Grad-CAM (Selvaraju et al. 2017) it needs no layer with large maps: every
network here can be explained. How faithful it is, and others beside it: `python -m benchmarks.explanations`.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cifar_model import dataset
from cifar_model.architectures import single_view
from cifar_model.backend import import_keras
from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import LabError, SettingsError
from cifar_model.files import replacing
from cifar_model.images import enlarge
from cifar_model.models import MODEL_FILE

if TYPE_CHECKING:
    import keras

    from cifar_model.classifier import Classifier

log = logging.getLogger(__name__)

METHODS = {
    "deletion-path": "mean gradient while what counts most is hidden, step by step; needs TensorFlow",
    "occlusion": "what hiding each square of 8×8 pixels costs; slower and coarser, on every backend",
}
MARKED_SHARE = 0.2  # of the pixels: what is removed to see how faithful a heat is
STEPS = 16  # gradients of a picture
HIDDEN_SHARE = 0.3  # of the pixels, at the path's end
BLUR_SIGMA = 4.0  # pixels, of a hidden part: no detail is left
HEAT_SIGMA = 1.0  # pixels; the heat is smoothed so that a person sees places and not single pixels
PATCH, STRIDE = 8, 4  # pixels, of occlusion
BATCH_SIZE = 64

# ------------------------------------------------------------------------------------------------ evidence


def explain(
    network: "keras.Model", images: np.ndarray, classes: np.ndarray, *, method: str | None = None
) -> np.ndarray:
    """Where in each picture the evidence for a class lies; `Explainer.explain` of a network that is asked once."""
    return Explainer(network).explain(images, classes, method=method)


class Explainer:
    """Finds the evidence in pictures for one network; keeps what was compiled, so that the next picture is quick.

    Parameters
    ----------
    network : keras.Model from pixels (n, 32, 32, 3) to probabilities (n, 10). One that averages a picture and its
        mirror image (`architectures.mirror_average`) is explained by the mean of both views, mapped back.
    """

    def __init__(self, network: "keras.Model"):
        import_keras()
        inner = single_view(network)
        self.mirrors = inner is not network
        self.logits = _logits(inner)

    def explain(self, images: np.ndarray, classes: np.ndarray, *, method: str | None = None) -> np.ndarray:
        """The evidence for one class in each picture: the same for a picture alone and among others.

        Parameters
        ----------
        images : uint8 (n, 32, 32, 3), RGB, 0–255; n may be 0
        classes : int (n,), 0–9: the class to look for, be it the network's answer or not
        method : a key of METHODS; None: the most faithful one that Keras's backend allows

        Returns
        -------
        float32 (n, 32, 32): ≥ 0, the largest of each picture is 1; all 0 where nothing speaks for the class.
            Evidence against it is left out.

        Raises
        ------
        SettingsError
            Arrays of other types or shapes, classes outside 0–9, an unknown method or one that needs TensorFlow.
        """
        images, classes = _checked(images, classes)
        if method is None:
            method = "deletion-path" if _has_tensorflow() else "occlusion"
        if method not in METHODS:
            raise SettingsError(f"Unknown method {method!r}. Choose one of: {', '.join(METHODS)}.")
        find = self._deletion_path if method == "deletion-path" else self._occlusion
        heat = np.zeros(images.shape[:3], np.float32)
        for start in range(0, len(images), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            heat[part] = as_heat(find(images[part].astype(np.float32), classes[part]))
        return heat

    def _deletion_path(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        stand_ins = [np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape), blurred(images)]
        total = np.zeros(images.shape[:3], np.float32)
        for step in range(STEPS):
            stand_in = stand_ins[step % len(stand_ins)]
            so_far = as_heat(total)
            hidden = mark(so_far, HIDDEN_SHARE * step / (STEPS - 1)) & (so_far > 0)
            version = np.where(hidden[..., None], stand_in, images)
            total += (self.gradients(version, classes) * (images - stand_in)).sum(axis=-1)
        return total

    def _occlusion(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Zeiler & Fergus (2014), "Visualizing and Understanding Convolutional Networks"."""
        edges = range(STRIDE - PATCH, IMAGE_SIZE, STRIDE)
        squares = np.zeros((len(edges) ** 2, IMAGE_SIZE, IMAGE_SIZE), np.float32)
        for number, (top, left) in enumerate((top, left) for top in edges for left in edges):
            squares[number, max(top, 0) : top + PATCH, max(left, 0) : left + PATCH] = 1
        # A square's loss is shared by its pixels, and a pixel gets the mean over the squares that cover it.
        shares = squares / squares.sum(axis=(1, 2), keepdims=True) / squares.sum(axis=0)
        total = np.zeros(images.shape[:3], np.float32)
        for i, (image, label) in enumerate(zip(images, classes, strict=True)):
            versions = np.where(squares[..., None] > 0, image.mean(axis=(0, 1)), image)
            odds = self.log_odds(np.concatenate([image[None], versions]), np.repeat(label, len(versions) + 1))
            total[i] = np.tensordot(odds[0] - odds[1:], shares, axes=1)
        return total

    def log_odds(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """ln p/(1-p) of a class, the mean of both views where there are two: float (n, 32, 32, 3) → float32 (n,)."""
        found = np.empty(len(images), np.float32)
        chosen = np.eye(len(CLASS_NAMES), dtype=bool)[classes]
        for start in range(0, len(images), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            views = [images[part], images[part, :, ::-1]] if self.mirrors else [images[part]]
            odds = []
            for view in views:
                logits = np.asarray(self.logits.predict_on_batch(view.astype(np.float32)))
                others = np.where(chosen[part], -np.inf, logits)
                highest = others.max(axis=1, keepdims=True)
                rest = highest[:, 0] + np.log(np.exp(others - highest).sum(axis=1))
                odds.append(logits[chosen[part]] - rest)
            found[part] = np.mean(odds, axis=0)
        return found

    def gradients(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Gradient of `log_odds` by the pixels: float32 (n, 32, 32, 3). SettingsError without TensorFlow."""
        return self._gradient(images.astype(np.float32), classes.astype(np.int32)).numpy()

    @cached_property
    def _gradient(self) -> Callable:
        require_tensorflow()
        import tensorflow as tf

        pixels = tf.TensorSpec((None, IMAGE_SIZE, IMAGE_SIZE, 3), tf.float32)

        @tf.function(input_signature=[pixels, tf.TensorSpec((None,), tf.int32)])
        def gradient(images, classes):
            with tf.GradientTape() as tape:
                tape.watch(images)
                odds = tensor_log_odds(self.logits(images, training=False), classes)
                if self.mirrors:
                    mirrored = tf.reverse(images, axis=[2])
                    odds = (odds + tensor_log_odds(self.logits(mirrored, training=False), classes)) / 2
            return tape.gradient(odds, images)

        return gradient


def tensor_log_odds(logits, classes):
    """ln p/(1-p) of each picture's class, in TensorFlow: logits (n, 10), classes int32 (n,) → (n,)."""
    import tensorflow as tf

    chosen = tf.one_hot(classes, len(CLASS_NAMES), dtype=logits.dtype)
    # Log-odds keep a slope where the probability itself is flat, near 0 and 1.
    return tf.reduce_sum(logits * chosen, axis=1) - tf.reduce_logsumexp(logits - 1e9 * chosen, axis=1)


def require_tensorflow() -> None:
    """Raise SettingsError under another backend of Keras: gradients are TensorFlow's."""
    if not _has_tensorflow():
        import keras

        raise SettingsError(
            f"Explaining by gradients needs Keras on TensorFlow. Here it runs on {keras.backend.backend()}: "
            "unset KERAS_BACKEND, or choose the method occlusion."
        )


def _has_tensorflow() -> bool:
    import keras

    return keras.backend.backend() == "tensorflow"


def as_heat(signed: np.ndarray) -> np.ndarray:
    """Signed evidence (n, 32, 32) as heat: smoothed, what speaks against the class cut off, the largest 1."""
    blur = _blur(HEAT_SIGMA)
    heat = np.maximum(blur @ signed @ blur.T, 0)
    return (heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)).astype(np.float32)


def mark(heat: np.ndarray, share: float = MARKED_SHARE) -> np.ndarray:
    """The pixels with the most evidence: (n, 32, 32) → bool (n, 32, 32), `share` of each picture."""
    flat = heat.reshape(len(heat), -1)
    chosen = np.argsort(-flat, axis=1, kind="stable")[:, : round(share * flat.shape[1])]
    marked = np.zeros(flat.shape, bool)
    np.put_along_axis(marked, chosen, True, axis=1)
    return marked.reshape(heat.shape)


def blurred(images: np.ndarray) -> np.ndarray:
    """Pictures (n, 32, 32, 3) without their detail: float32, Gaussian blur of BLUR_SIGMA pixels."""
    blur = _blur(BLUR_SIGMA)
    # In float64, so that a plain picture stays exactly as it is: rounding would be its only "evidence".
    return np.einsum("ij,njkc,lk->nilc", blur, images.astype(np.float64), blur, optimize=True).astype(np.float32)


def _checked(images: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, classes = np.asarray(images), np.asarray(classes)
    if images.dtype != np.uint8 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise SettingsError(
            f"Pictures are a uint8 array of shape (n, 32, 32, 3). Received: {images.dtype} {images.shape}."
        )
    if classes.shape != images.shape[:1] or (len(classes) and not np.issubdtype(classes.dtype, np.integer)):
        raise SettingsError(
            f"Each picture needs the number of one class, int ({len(images)},). "
            f"Received: {classes.dtype} {classes.shape}."
        )
    if len(classes) and not 0 <= classes.min() <= classes.max() < len(CLASS_NAMES):
        raise SettingsError(f"Classes are 0 to {len(CLASS_NAMES) - 1}. Received: {classes.min()} to {classes.max()}.")
    return images, classes.astype(np.int64)


def _logits(network: "keras.Model") -> "keras.Model":
    """The same network without its last softmax; weights are shared."""
    from keras import Model, activations, layers, ops

    last = network.layers[-1]
    if isinstance(last, layers.Softmax):
        logits = last.input
    elif getattr(last, "activation", None) is activations.softmax and isinstance(last, layers.Dense):
        logits = ops.matmul(ops.cast(last.input, last.kernel.dtype), last.kernel)
        logits = logits if last.bias is None else logits + last.bias
    else:  # somebody's own network
        logits = ops.log(ops.maximum(network.output, 1e-7))
    return Model(network.inputs, ops.cast(logits, "float32"), name=f"{network.name}-logits")


@lru_cache
def _blur(sigma: float) -> np.ndarray:
    """Gaussian blur of 32 pixels in a row as a matrix (32, 32): blur both axes of x by `m @ x @ m.T`."""
    distance = np.subtract.outer(np.arange(IMAGE_SIZE), np.arange(IMAGE_SIZE))
    matrix = np.exp(-0.5 * (distance / sigma) ** 2)
    return matrix / matrix.sum(axis=1, keepdims=True)


# ------------------------------------------------------------------------------------------------- drawing

# Strength of the evidence, colour and cover over the grey: ever lighter, so that the order needs no colour vision; no
# kind of colour blindness takes orange or yellow for grey.
_RAMP = ((0.0, (255, 120, 0), 0.0), (0.5, (255, 120, 0), 0.8), (1.0, (255, 240, 120), 0.95))
_TEXT, _PAPER = "#222222", "white"


def overlay(pixels: np.ndarray, heat: np.ndarray, *, scale: int = 10, class_name: str | None = None) -> Image.Image:
    """A picture in grey with the evidence over it, from orange to yellow where it is strongest.

    Parameters
    ----------
    pixels : uint8 (32, 32, 3)
    heat : float (32, 32), 0–1
    scale : pixels of the result for one of the picture's, which stay squares
    class_name : adds a legend below, which says for what the evidence is

    Returns
    -------
    RGB image, 32·scale wide
    """
    # Darker than all colours of the heat, so that it stands out from light pictures as from dark ones.
    grey = 25 + 0.43 * (np.asarray(pixels) @ np.array([0.299, 0.587, 0.114]))
    image = enlarge(_heat_color(grey, heat), scale)
    if class_name is None:
        return image
    legend = heat_legend(class_name, width=image.width)
    sheet = Image.new("RGB", (image.width, image.height + legend.height), _PAPER)
    sheet.paste(image, (0, 0))
    sheet.paste(legend, (0, image.height))
    return sheet


def heat_legend(class_name: str, *, width: int = 320) -> Image.Image:
    """What an overlay's colours mean, dark text on white: RGB, `width` pixels wide."""
    size = max(9, min(16, width // 20))
    font = ImageFont.load_default(size=size)
    legend = Image.new("RGB", (width, 2 * size), _PAPER)
    text = f"more evidence for {class_name}"
    bar = max(size, width - round(font.getlength(text)) - 2 * size)
    ramp = _heat_color(np.full((1, bar), 80.0), np.linspace(0, 1, bar)[None])
    legend.paste(Image.fromarray(ramp).resize((bar, size)), (size // 2, size // 2))
    ImageDraw.Draw(legend).text((bar + size, size), text, _TEXT, font, anchor="lm")
    return legend


def _heat_color(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Grey (h, w), 0–255, under heat (h, w), 0–1 → uint8 (h, w, 3)."""
    at, colors, covers = zip(*_RAMP, strict=True)
    cover = np.interp(heat, at, covers)[..., None]
    color = np.stack([np.interp(heat, at, channel) for channel in zip(*colors, strict=True)], axis=-1)
    return np.rint((1 - cover) * grey[..., None] + cover * color).astype(np.uint8)


def explain_picture(
    classifier: "Classifier", pixels: np.ndarray, class_index: int, *, scale: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """One picture explained and drawn.

    Parameters
    ----------
    pixels : uint8 (32, 32, 3)
    class_index : 0–9, the class to look for

    Returns
    -------
    overlay : uint8 (height, width, 3), the picture with the evidence over it and a legend below (`overlay`)
    heat : float32 (32, 32), 0–1 (`Explainer.explain`)
    """
    heat = classifier.explain(np.asarray(pixels)[None], np.array([class_index]))[0]
    return np.asarray(overlay(pixels, heat, scale=scale, class_name=CLASS_NAMES[class_index])), heat


class Explanations:
    """Writes one PNG a picture into a folder: what the network sees, beside it where the evidence lies.

    Raises LabError where the folder can't be made or written to.
    """

    def __init__(self, classifier: "Classifier", folder: str | os.PathLike):
        self._classifier, self._folder = classifier, Path(folder)
        self._taken: set[str] = set()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(f"Can't make the folder {folder}: {error.strerror or error}.") from error

    def add(self, source: Path, pixels: np.ndarray, probabilities: np.ndarray) -> Path:
        """Explain the picture's most probable class, and return the file: NAME-why.png, or NAME-why-2.png, …

        source: the picture's file, for its name. pixels: uint8 (32, 32, 3). probabilities: float (10,).
        """
        best = int(np.argmax(probabilities))
        drawn, _ = explain_picture(self._classifier, pixels, best)
        scale, gap = drawn.shape[1] // IMAGE_SIZE, 8
        sheet = Image.new("RGB", (2 * drawn.shape[1] + gap, drawn.shape[0]), _PAPER)
        sheet.paste(enlarge(pixels, scale), (0, 0))
        sheet.paste(Image.fromarray(drawn), (drawn.shape[1] + gap, 0))
        says = f"{CLASS_NAMES[best]}: {100 * probabilities[best]:.1f} %"
        draw = ImageDraw.Draw(sheet)
        draw.text((scale, IMAGE_SIZE * scale + scale), says, _TEXT, ImageFont.load_default(size=16))
        file = self._folder / self._name(Path(source).stem)
        with replacing(file) as temporary:
            sheet.save(temporary)
        return file

    def _name(self, stem: str) -> str:
        # Pictures of one name from two folders get a number; some file systems don't tell upper from lower case.
        number, name = 1, f"{stem}-why.png"
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-why-{number}.png"
        self._taken.add(name.lower())
        return name


# ---------------------------------------------------------------------------------------------- neighbours


def nearest(features: np.ndarray, bank: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `bank` that point most nearly the way each feature vector does.

    Parameters
    ----------
    features : float (n, d)
    bank : float (m, d), rows of length 1 or 0

    Returns
    -------
    indices : int64 (n, k), nearest first
    distances : float32 (n, k), cosine distance 0–2; 0 = the same direction

    Raises
    ------
    SettingsError
        k outside 1–m.
    """
    if not 1 <= k <= len(bank):
        raise SettingsError(f"k is 1 to {len(bank):,}. Received: {k}.")
    unit = _unit(features)
    likeness = np.empty((len(unit), len(bank)), np.float32)
    for start in range(0, len(bank), 8192):  # the bank is float16 on disk; a part at a time is widened
        part = slice(start, start + 8192)
        likeness[:, part] = unit @ bank[part].astype(np.float32).T
    best = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
    found = np.take_along_axis(likeness, best, axis=1)
    order = np.lexsort((best, -found), axis=1)
    indices = np.take_along_axis(best, order, axis=1)
    distances = np.clip(1 - np.take_along_axis(found, order, axis=1), 0, 2)
    return indices.astype(np.int64), distances.astype(np.float32)


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


class Neighbours:
    """The training pictures nearest to a picture in a network's features (`Classifier.features`).

    The features of all training pictures are computed once for a model's weights and a data set, and kept as
    float16 .npy under `dataset.cache_root()`.

    Parameters
    ----------
    classifier : whose features
    data_dir : as for `dataset.load_cifar10`

    Attributes
    ----------
    images : uint8 (m, 32, 32, 3), the training pictures, read-only; labels : int64 (m,)

    Raises
    ------
    DatasetError
        CIFAR-10 is not at hand, or can't be read.
    """

    def __init__(self, classifier: "Classifier", data_dir: str | os.PathLike | None = None):
        self._classifier, self._data_dir = classifier, data_dir
        self._bank: np.ndarray | None = None
        path = classifier.path
        weights = (path / MODEL_FILE if path.is_dir() else path).read_bytes()
        data = dataset.cache_entry(dataset.find_source(data_dir)).name
        key = hashlib.sha256(f"1 {hashlib.sha256(weights).hexdigest()} {data}".encode()).hexdigest()
        self._file = dataset.cache_root() / "features" / f"{key}.npy"

    @cached_property
    def _training(self) -> dataset.Split:
        return dataset.load_cifar10(self._data_dir)[0]

    @property
    def images(self) -> np.ndarray:
        return self._training[0]

    @property
    def labels(self) -> np.ndarray:
        return self._training[1]

    def is_ready(self) -> bool:
        """Whether the features are at hand, so that `nearest` answers at once: a look at one file."""
        return self._bank is not None or self._file.is_file()

    def prepare(self, *, batch_size: int = 250) -> Iterator[int]:
        """Compute the features, unless they are at hand; gives the number of pictures done after each batch.

        Nothing is kept of a computation that is left before its end.
        """
        m = len(self.images)
        if self._open() is not None:
            yield m
            return
        bank = None
        for start in range(0, m, batch_size):
            part = slice(start, start + batch_size)
            features = _unit(self._classifier.features(np.asarray(self.images[part]))).astype(np.float16)
            if bank is None:
                bank = np.empty((m, features.shape[1]), np.float16)
            bank[part] = features
            if start + batch_size >= m:
                self._keep(bank)
            yield min(start + batch_size, m)

    def nearest(self, images: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """The training pictures nearest to each of `images`, uint8 (n, 32, 32, 3), by cosine distance.

        Computes what `prepare` does first where that has not been done. Returns indices int64 (n, k) into the
        attributes images and labels, nearest first, and distances float32 (n, k), 0–2. A picture that was trained
        on finds itself, at distance 0.
        """
        if self._open() is None:
            for _ in self.prepare():
                pass
        return nearest(self._classifier.features(images), self._bank, k)

    def _open(self) -> np.ndarray | None:
        if self._bank is None:
            try:
                bank = np.load(self._file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):  # absent, or broken: computed again
                return None
            if bank.dtype == np.float16 and bank.ndim == 2 and len(bank) == len(self.images):
                self._bank = bank
        return self._bank

    def _keep(self, bank: np.ndarray) -> None:
        self._bank = bank
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._file) as temporary:
                np.save(temporary, bank, allow_pickle=False)
        except (OSError, LabError) as error:
            advice = "set CIFAR_LAB_CACHE to a folder that can be written."
            log.warning("Features of the training pictures can't be kept (%s): %s", error, advice)
