"""Why: where in a picture the evidence for a class lies.

Evidence is asked of the network by hiding what counts: the gradient of the class's log-odds says what each pixel adds
over what would stand in its place; the pixels that add most so far are hidden, and the network is asked again, until
30 % are hidden. The sum over these 16 versions is the heat. Hidden parts are painted in the picture's mean colour and
blurred in turn, so that neither one's own look passes for evidence. It is Integrated Gradients (Sundararajan et al.
2017) on a path that follows the evidence, as in Guided Integrated Gradients (Kapishnikov et al. 2021), and that leads
not to an empty picture but to where the evidence is gone (deletion: Fong & Vedaldi 2017), so that what the network
would fall back upon shows up too. Unlike Grad-CAM (Selvaraju et al. 2017) it needs no layer with large maps: every
network here can be explained. How faithful it is, and others beside it: `python -m benchmarks.explanations`.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.errors import SettingsError
from cifar_model.networks.backend import import_keras
from cifar_model.networks.views import single_view

if TYPE_CHECKING:
    import keras


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
        mirror image (`views.mirror_average`) is explained by the mean of both views, mapped back.
    """

    def __init__(self, network: "keras.Model"):
        import_keras()
        inner = single_view(network)
        self.mirrors = inner is not network
        # One that came as a LiteRT or ONNX file has no gradients.
        self.has_gradients = all(getattr(layer, "differentiable", True) for layer in inner.layers)
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
            method = "deletion-path" if _has_tensorflow() and self.has_gradients else "occlusion"
        if method not in METHODS:
            raise SettingsError(f"Unknown method {method!r}. Choose one of: {', '.join(METHODS)}.")
        if method == "deletion-path" and not self.has_gradients:
            raise SettingsError("This network came as a file that gives no gradients: choose the method occlusion.")
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
        logits = ops.log(ops.maximum(network.output, 1e-30))
    return Model(network.inputs, ops.cast(logits, "float32"), name=f"{network.name}-logits")


@lru_cache
def _blur(sigma: float) -> np.ndarray:
    """Gaussian blur of 32 pixels in a row as a matrix (32, 32): blur both axes of x by `m @ x @ m.T`."""
    distance = np.subtract.outer(np.arange(IMAGE_SIZE), np.arange(IMAGE_SIZE))
    matrix = np.exp(-0.5 * (distance / sigma) ** 2)
    return matrix / matrix.sum(axis=1, keepdims=True)
