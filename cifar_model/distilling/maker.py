"""One part's pictures on their way: the network pool, the steps, the checkpoint."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cifar_model.classes import IMAGE_SIZE
from cifar_model.data.distilled import CLASSES
from cifar_model.distilling.frequencies import frequencies
from cifar_model.distilling.graph import Graph, random_places
from cifar_model.errors import DatasetError, SettingsError
from cifar_model.networks.build import PIXEL_MEAN, PIXEL_VARIANCE
from cifar_model.storage import replacing

MIXED = 4  # real pictures of the class whose mean a picture starts from
SUPPORT = 50  # pictures a class in an iteration
REAL = 100  # photographs a class in an iteration
RATE = 0.04  # Adam's step for a frequency, in standard deviations of the photographs'; falls to 0 along a cosine
POOL = 4  # networks that learn meanwhile
POOL_RATE, POOL_BATCH, POOL_STEPS = 2e-3, 128, 2  # Adam's step for their weights; pictures a step; steps a turn
OLDEST = 400  # steps after which a network makes room for a new one
SAVE_SECONDS = 60.0


class Maker:
    """One part's pictures, on their way; everything random follows from the seed and the iteration."""

    def __init__(self, images, labels, per_class, iterations, *, seed, checkpoint: Path, identity: str):
        self.images, self.labels, self.iterations, self.seed = images, labels, iterations, seed
        self.checkpoint, self.identity = checkpoint, identity
        self.members = [np.flatnonzero(labels == label) for label in range(CLASSES)]
        if (fewest := min(map(len, self.members))) < MIXED:
            raise DatasetError(f"A class has {fewest} training images; at least {MIXED} are needed of each.")
        self.mean = np.asarray(PIXEL_MEAN, np.float32)
        self.deviation = np.sqrt(np.asarray(PIXEL_VARIANCE, np.float32))
        self.low, self.high = -self.mean / self.deviation, (255 - self.mean) / self.deviation
        self.graph = Graph()
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
            network[0], pictures, _targets(share), *random_places(len(pictures), rng), real, _targets(REAL)
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
        gradient = self.graph.learn(weights, pictures, batch // n, *random_places(len(batch), rng)).numpy()
        self.ages[turn] += 1
        _adam(weights, first, second, gradient, POOL_RATE, self.ages[turn])

    def _spectrum(self) -> np.ndarray:
        """float32 (32, 32, 3): standard deviation of each cosine frequency over photographs."""
        return frequencies(self._scaled(self.images[:2000])).std(axis=0) + 1e-3

    def _step(self, rows, gradient: np.ndarray) -> None:
        # Steps along frequencies, each in photographs' own proportion: pixel-wise ones would leave noise that no
        # photograph has (Olah, Mordvintsev & Schubert 2017, "Feature Visualization", on preconditioning).
        rate = RATE * 0.5 * (1 + np.cos(np.pi * self.done / self.iterations))
        first, second = self.moments[0][rows], self.moments[1][rows]
        turns = 1 + self.done * len(rows[1][0]) / self.pixels.shape[1]  # how often a picture has moved, about
        change = np.zeros_like(gradient)
        _adam(change, first, second, frequencies(gradient) * self.spectrum, rate, turns)
        pixels = self.pixels[rows] + frequencies(change * self.spectrum, back=True)
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


def _adam(weights, first, second, gradient, rate, turns) -> None:
    """One step of Adam (Kingma & Ba 2015) on arrays, in place; `turns` counts from 1."""
    first += 0.1 * (gradient - first)
    second += 0.001 * (gradient**2 - second)
    weights -= rate * (first / (1 - 0.9**turns)) / (np.sqrt(second / (1 - 0.999**turns)) + 1e-8)


def _targets(per_class: int) -> np.ndarray:
    return np.repeat(np.eye(CLASSES, dtype=np.float32), per_class, axis=0)
