"""The networks' mathematics, in TensorFlow."""

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.data.distilled import CLASSES
from cifar_model.networks.build import SEED_FILTERS
from cifar_model.training.augment import places

RIDGE = 2.0  # share of the mean eigenvalue
SHIFT = 3  # pixels; largest random translation of the pictures, as where networks learn from them


def random_places(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row and column indices int32 (n, 32) of pictures, shifted and mirrored at random (`augment.places`)."""
    shifts = rng.integers(-SHIFT, SHIFT + 1, (2, n))
    rows, columns = places(IMAGE_SIZE, *shifts, rng.random(n) < 0.5)
    return rows.astype(np.int32), columns.astype(np.int32)


class Graph:
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
