"""Answers: a trained network asked about pictures in memory or about files."""

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.answering.answer import Answer
from cifar_model.answering.engines import KERAS, LITERT, KerasEngine, check_engine, compiled_engine
from cifar_model.answering.evidence import Explainer
from cifar_model.classes import IMAGE_SIZE
from cifar_model.errors import ModelError, SettingsError
from cifar_model.models.card import Card, read_card
from cifar_model.models.folder import find_model
from cifar_model.models.network import load_network
from cifar_model.networks.backend import import_keras
from cifar_model.networks.litert import INTERPRETERS
from cifar_model.trust.answer_sets import LEVELS, answer_sets
from cifar_model.trust.calibration import calibrate
from cifar_model.trust.scope import METHOD, scope_score

if TYPE_CHECKING:
    import keras

DEFAULT_MODEL = "lab-net"
BATCH_SIZE = 128  # beyond it nothing gets faster


class Classifier:
    """A network with its card, ready to answer.

    Parameters
    ----------
    model : name of a bundled model or a run, `RUN@3` for its epoch 3, or the path of a model directory
    calibrated : apply the calibration in the model's card (`calibration.calibrate`), so that of the answers given with
        80 % about 80 % are right; False shows the network's own softmax
    engine : "litert", without TensorFlow, which needs the model's compiled form; "keras"; None: LiteRT where it can
    interpreters : how many of LiteRT's may work on one batch at a time, each on a CPU; by default, as many as gain

    Attributes
    ----------
    name : str; path : Path; card : Card, empty for a network without one; engine : what answers, "litert" or "keras";
        fitted : the calibration that the card holds, temperature and even share; calibration, sets : what applies,
        {} where nothing does; scope_threshold : float or None

    Raises
    ------
    ModelError
        No such model, or one that can't be loaded; no compiled form where LiteRT is asked for.
    SettingsError
        Another engine.
    """

    def __init__(
        self,
        model: str | os.PathLike = DEFAULT_MODEL,
        *,
        calibrated: bool = True,
        engine: str | None = None,
        interpreters: int = INTERPRETERS,
    ):
        check_engine(engine)
        self.path = find_model(model)
        self.name = self.path.resolve().name if self.path == Path(model) else os.fspath(model)
        try:
            self.card = read_card(self.path)
        except ModelError:  # a run under way has a network before it has a card
            self.card = Card()
        # An epoch's file shares the card of its run, where all that was fitted belongs to another network.
        fitted = self.card if self.path.is_dir() else Card()
        self.fitted = fitted.correction
        self.calibration = self.fitted if calibrated else {}
        self.sets: dict = {} if fitted.sets is None else fitted.stored["sets"]  # `answer_sets` checks what it takes
        scope = fitted.scope
        # An older card's threshold is one of another score.
        self.scope_threshold = scope.threshold if scope is not None and scope.method == METHOD else None
        compiled = None if engine == KERAS else compiled_engine(self.path, interpreters)
        if compiled is None and engine == LITERT:
            raise ModelError(f"The model {self.name} has no compiled form, which LiteRT needs.")
        self.engine = KERAS if compiled is None else LITERT
        self._engine = compiled or KerasEngine(self.network)
        self._explainer = None  # made when first asked for

    @cached_property
    def network(self) -> "keras.Model":
        """The network as it was saved; brings Keras, which explanations need and answers from a compiled form don't."""
        import_keras()
        return load_network(self.path)

    @property
    def has_features(self) -> bool:
        """Whether `features` can be had."""
        return self._engine.has_features

    def predict(self, images: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """What the network believes about each picture.

        Parameters
        ----------
        images : uint8 array (n, 32, 32, 3), RGB, 0–255; n may be 0
        batch_size : pictures at a time; bounds the memory, and changes answers by rounding alone (below 1e-5)

        Returns
        -------
        float32 array (n, 10): probabilities in the order of CLASS_NAMES; each row sums to 1

        Raises
        ------
        SettingsError
            Pixels of another type or shape, or a batch size below 1.
        ModelError
            The network answers numbers that are not finite.
        """
        raw, _ = self._ask(images, batch_size)
        return calibrate(raw, self.calibration)

    def features(self, images: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """What the network's last layer decides upon: float32 (n, d), see `views.with_features`.

        Takes and raises what `predict` does, and ModelError where the network has no dense layer at its end.
        """
        features = self._ask(images, batch_size)[1] if self.has_features else None
        if features is None:
            raise ModelError(f"The model {self.name} has no dense layer at its end, so it has no features.")
        return features

    def examine(self, images: np.ndarray, *, batch_size: int = BATCH_SIZE) -> Answer:
        """All that can be said about each picture, in one pass of the network.

        Parameters
        ----------
        images, batch_size : as for `predict`

        Raises
        ------
        SettingsError, ModelError
            As `predict`; ModelError also where the card's answer sets lack something.
        """
        raw, _ = self._ask(images, batch_size)
        sets = scope = in_scope = None
        # Fitted after calibration, so computed after it, whichever probabilities are shown.
        fitted = calibrate(raw, self.fitted)
        if self.sets:
            sets = np.stack([answer_sets(fitted, self.sets, level) for level in LEVELS], axis=1)
        if self.scope_threshold is not None:
            scope = scope_score(raw)
            in_scope = scope >= self.scope_threshold
        return Answer(calibrate(raw, self.calibration), raw, sets, scope, in_scope)

    def _ask(self, images: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The network's own softmax float32 (n, 10), and features float32 (n, d) where it has them."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            hint = " For one picture, give picture[None]." if images.ndim == 3 else ""
            raise SettingsError(
                "Pictures are a uint8 array of shape (n, 32, 32, 3), RGB, 0 to 255. "
                f"Received: {images.dtype} {images.shape}.{hint}"
            )
        if batch_size < 1:
            raise SettingsError(f"A batch holds at least 1 picture. Received: batch_size={batch_size}.")
        n = len(images)
        if not n:  # a blank one tells the shapes: TensorFlow fails on an empty batch
            images = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        parts = [self._engine.answer(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
        probabilities, *features = (np.concatenate(outputs)[:n] for outputs in zip(*parts, strict=True))
        if not np.isfinite(probabilities).all():
            raise ModelError(
                f"The model {self.name} answers numbers that are not finite: its training diverged. "
                "Choose another model, or train it again with a lower learning rate."
            )
        return probabilities, features[0] if features else None

    def explain(self, images: np.ndarray, classes: np.ndarray, *, method: str | None = None) -> np.ndarray:
        """Where in each picture the evidence for a class lies: float32 (n, 32, 32), 0–1; see `evidence.Explainer`."""
        if self._explainer is None:
            self._explainer = Explainer(self.network)
        return self._explainer.explain(images, classes, method=method)

    def warm_up(self) -> None:
        """Answer one blank picture, so that the first real one need not wait for memory and kernels."""
        self.predict(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))
