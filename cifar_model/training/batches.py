"""The batches that `fit` learns from. Imports Keras: load it only where a network is trained."""

import keras
import numpy as np

from cifar_model.classes import CLASS_NAMES, IMAGE_SIZE
from cifar_model.training.augment import augment_batch, blend_batch, shrink
from cifar_model.training.recipes import resolution_at
from cifar_model.training.settings import Settings

# Every draw has a random stream of its own, named by seed, epoch, step and one of these: none depends on another.
_STEP, _OUTLIERS = 1, 2


class Batches(keras.utils.PyDataset):
    """All batches of a run, epoch after epoch; `fit` takes them with ``steps_per_epoch=batches.steps``.

    An item is (uint8 (b, s, s, 3), targets float32 (b, 10)). Order and augmentation follow from seed, epoch and step
    alone, so any batch can be made again after a crash. In each epoch every image comes once (`Recipe.passes` times);
    what would be a last short batch is left out. Every other epoch mirrors the other half of the images (alternating
    flip, Jordan 2024, section 3.6).

    With `outliers`, from `Recipe.exposure_from` on, images of other things follow those of the step; their target is
    every class alike. One mean over both weighs them as Hendrycks et al. 2019 do, by 0.5 at an exposure share of 0.5.

    Parameters
    ----------
    images : uint8 (n, 32, 32, 3)
    labels : int64 (n,)
    settings : Settings
    outliers : uint8 (m, 32, 32, 3), or None

    Attributes
    ----------
    steps : batches an epoch
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        settings: Settings,
        outliers: np.ndarray | None = None,
    ):
        super().__init__()
        self.settings, self.recipe = settings, settings.details
        self.images, self.labels, self.outliers = images, labels, outliers
        self.count = len(images) * self.recipe.passes
        self.size = min(settings.batch_size, self.count)
        self.steps = self.count // self.size
        self.first = 0
        self.mirrored = np.random.default_rng(settings.seed).random(self.count) < 0.5
        self._shrunk: tuple[int, np.ndarray, np.ndarray | None] = (0, images, outliers)
        self._order: tuple[int, np.ndarray] = (0, np.empty(0, int))
        self._shapes_wanted = False

    def pass_over(self, epochs: int) -> None:
        """Begin after so many epochs."""
        self.first = epochs * self.steps

    def __len__(self) -> int:
        return self.settings.epochs * self.steps - self.first

    def show_shapes(self) -> "Batches":
        """These batches for `fit`, which reads two before the first epoch to learn what shapes may come.

        Until the epoch begins, the second is an empty one, as large as the run's last images.
        """
        self._shapes_wanted = True
        return self

    def on_epoch_begin(self) -> None:
        self._shapes_wanted = False

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        settings, recipe, number = self.settings, self.recipe, self.first + index
        epoch, step = divmod(number, self.steps)
        epoch += 1
        if self._shapes_wanted and index == 1:
            side = resolution_at(recipe, 1.0)
            return np.zeros((1, side, side, 3), np.uint8), np.zeros((1, len(CLASS_NAMES)), np.float32)
        images, outliers = self._images_at(self._progress(number))
        chosen = self._order_of(epoch)[step * self.size : (step + 1) * self.size]
        rng = np.random.default_rng((settings.seed, epoch, step, _STEP))
        x = self._augmented(images[chosen % len(images)], self.mirrored[chosen] ^ (epoch % 2 == 1), rng)
        y = np.eye(len(CLASS_NAMES), dtype=np.float32)[self.labels[chosen % len(images)]]
        if settings.mixup:
            some = round(self.size * recipe.mixup_share)
            blends = blend_batch(x[:some], y[:some], rng, alpha=settings.mixup)
            x, y = (np.concatenate([blended, whole[some:]]) for blended, whole in zip(blends, (x, y), strict=True))
        if outliers is not None and (strange := self.size_at(number) - self.size):
            rng = np.random.default_rng((settings.seed, epoch, step, _OUTLIERS))
            others = outliers[rng.integers(0, len(outliers), strange)]
            x = np.concatenate([x, self._augmented(others, rng.random(strange) < 0.5, rng)])
            y = np.concatenate([y, np.full((strange, len(CLASS_NAMES)), 1 / len(CLASS_NAMES), np.float32)])
        return x, y

    def size_at(self, number: int) -> int:
        """Images in the batch `number` (0-based, over the whole run), those of other things included."""
        exposed = self.outliers is not None and self._progress(number) >= self.recipe.exposure_from
        return self.size + (max(1, round(self.size * self.recipe.exposure_share)) if exposed else 0)

    def _progress(self, number: int) -> float:
        return number / (self.settings.epochs * self.steps)

    def _order_of(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.settings.seed, epoch)).permutation(self.count)
        return self._order[1]

    def _images_at(self, progress: float) -> tuple[np.ndarray, np.ndarray | None]:
        """The training images, and those of other things, at the side of that moment; the last side is kept."""
        side = resolution_at(self.recipe, progress)
        if self._shrunk[0] != side:
            others = None if self.outliers is None else shrink(self.outliers, side)
            self._shrunk = side, shrink(self.images, side), others
        return self._shrunk[1:]

    def _augmented(self, images: np.ndarray, mirrored: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not self.settings.augment:
            return images
        scale = images.shape[1] / IMAGE_SIZE
        shift, cutout = max(1, round(self.recipe.shift * scale)), round(self.recipe.cutout * scale)
        return augment_batch(images, rng, mirrored=mirrored, shift=shift, cutout=cutout)
