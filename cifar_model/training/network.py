"""The network of a run: built, compiled, and beside it the one that is saved."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.data.sources import MINI
from cifar_model.errors import SettingsError
from cifar_model.models.card import Card, load_card, read_card
from cifar_model.models.folder import find_model
from cifar_model.models.network import load_network
from cifar_model.networks.build import build_network, set_whitening
from cifar_model.networks.views import mirror_average, single_view
from cifar_model.training.data import TrainingData
from cifar_model.training.precision import dtype_policy
from cifar_model.training.settings import Settings

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Networks:
    """Two networks of the same weights.

    learner : learns; it may see one view, smaller images, in bfloat16
    deployed : is validated and saved: always float32 and 32×32, so that an answer doesn't depend on how it was trained
    """

    learner: "keras.Model"
    deployed: "keras.Model"

    def deploy(self) -> None:
        """Give the network that is saved the weights that the other has learned so far."""
        single_view(self.deployed).set_weights(self.learner.get_weights())


def build_networks(settings: Settings, data: TrainingData, *, precision: str, total_steps: int) -> Networks:
    """The untrained networks of a run of `total_steps`, or those that start from another model's weights.

    Raises
    ------
    SettingsError
        The model to start from is of another shape, or may have seen what this run holds out.
    """
    learner = compiled_network(settings, data.train[0], precision=precision, total_steps=total_steps)
    if settings.start_from:
        _start_from(settings, data, learner)
    return Networks(learner, deployable_network(settings))


def deployable_network(settings: Settings) -> "keras.Model":
    """The network of `settings` as it is saved: float32, 32×32, lab-net averaged over the mirror image."""
    with dtype_policy("float32"):
        network = build_network(settings.network, **_shape(settings))
        return mirror_average(network) if settings.network == "lab-net" else network


def compiled_network(settings: Settings, images: np.ndarray, *, precision: str, total_steps: int) -> "keras.Model":
    """The untrained network of a run of `total_steps`, ready for `fit`; `images` are for lab-net's whitening."""
    import keras

    from cifar_model.networks.optimizers import build_optimizer

    with dtype_policy(precision):
        network = build_network(settings.network, any_size=settings.network == "lab-net", fast=True, **_shape(settings))
        set_whitening(network, images[:5000])
        momentum = normalization_momentum(total_steps)
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = min(layer.momentum, momentum)
        network.compile(
            build_optimizer(settings.optimizer, settings.learning_rate),
            keras.losses.CategoricalCrossentropy(label_smoothing=settings.details.label_smoothing),
            metrics=_shown_metrics(),
            # On CPUs XLA runs convolutions 2 to 5 times slower; on a GPU JAX compiles anyway.
            jit_compile=keras.backend.backend() == "jax",
        )
        network.optimizer.build(network.trainable_variables)
    return network


def normalization_momentum(steps: int) -> float:
    """Momentum of BatchNorm's running means for a training of `steps`: they reach back over a twentieth of it.

    At Keras's 0.99 they lag so far behind in a training of some hundred steps that answers are half as good.
    """
    return float(np.clip(1 - 20 / steps, 0.9, 0.99))


def origin_of(settings: Settings) -> dict:
    """What a card tells of the model that a run started from; {} where it started from none."""
    if not settings.start_from:
        return {}
    card = load_card(find_model(settings.start_from))
    return {key: card[key] for key in ("name", "command", "epochs", "seconds", "details") if key in card}


def _shape(settings: Settings) -> dict:
    return {"filters": settings.filters, "dropout": settings.dropout, "dense": settings.dense}


def _shown_metrics() -> list:
    """Accuracy and cross-entropy in nats, over the pictures of the ten classes alone.

    A row whose target is every class alike shows something else, see `Batches`.
    """
    import keras
    from keras import ops

    class _OfClasses(keras.metrics.MeanMetricWrapper):
        def update_state(self, y_true, y_pred, sample_weight=None):
            shown = ops.cast(ops.max(y_true, axis=-1) > 1.5 / len(CLASS_NAMES), "float32")
            return super().update_state(y_true, y_pred, shown)

    return [
        _OfClasses(keras.metrics.categorical_accuracy, name="accuracy"),
        _OfClasses(keras.metrics.categorical_crossentropy, name="cross_entropy"),
    ]


def _start_from(settings: Settings, data: TrainingData, network: "keras.Model") -> None:
    name = settings.start_from
    source = single_view(load_network(find_model(name)))
    shapes = [weight.shape for weight in source.weights]
    if shapes != [weight.shape for weight in network.weights]:
        raise SettingsError(
            f"The model {name!r} is of another shape than the network {settings.network!r}: "
            f"{source.count_params():,} weights, not {network.count_params():,}. Start from one of its kind."
        )
    _check_origin(settings, data, read_card(find_model(name)))
    network.set_weights(source.get_weights())


def _check_origin(settings: Settings, data: TrainingData, card: Card) -> None:
    """Refuse a network that has seen pictures which this run would hold out: its scores would flatter."""
    name = settings.start_from
    if data.boundary is None or card.settings.get("data") == MINI:
        return
    boundary = card.data.held_out_up_to
    if boundary is None:
        raise SettingsError(
            f"The card of {name!r} doesn't say which images were held out from its training, so it may have seen "
            "those that this run would hold out. Start from a model whose card tells, or from none."
        )
    if data.boundary > boundary:
        share = card.settings.get("validation", "a smaller share")
        raise SettingsError(
            f"{name!r} was trained on images that this run would hold out: it held out {share}, this run "
            f"{settings.validation:g}. Use --validation {share} or less."
        )
