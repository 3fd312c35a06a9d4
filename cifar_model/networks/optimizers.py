"""Optimizers by name. Imports Keras: load it only where a network is trained."""

import keras
from keras import ops

from cifar_model.errors import SettingsError


@keras.saving.register_keras_serializable("cifar_model")
class ConvMuon(keras.optimizers.Muon):
    """Muon whose orthogonalised steps also reach convolution kernels; all else gets Adam.

    Keras's own Muon treats 2-D variables alone. Here a kernel (height, width, in, out) is seen as the matrix
    (height·width·in, out) for the Newton–Schulz iteration, as in Jordan et al. (2024), "Muon: an optimizer for
    hidden layers in neural networks", and its reference runs on CIFAR-10.
    """

    def _should_use_adamw(self, variable):
        return len(variable.shape) != 4

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        step = ops.add(gradient, self.momentum * m) if self.nesterov else m
        matrix = ops.reshape(step, (-1, variable.shape[-1]))
        matrix = self.zeropower_via_newtonschulz5(matrix, self.ns_steps)
        self.assign_sub(variable, ops.cast(lr, variable.dtype) * ops.reshape(matrix, variable.shape))


def build_optimizer(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    """The optimizer `name` (a key of `choices.OPTIMIZERS`) at `learning_rate`; SettingsError on another name."""
    if name == "adam":
        return keras.optimizers.Adam(learning_rate)
    if name == "adamw":
        return keras.optimizers.AdamW(learning_rate, weight_decay=0.01)
    if name == "sgd":
        return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)
    if name == "muon":
        return ConvMuon(
            learning_rate,
            weight_decay=None,
            adam_weight_decay=None,
            adam_beta_1=0.85,
            adam_beta_2=0.95,
            # Steps of the head and of the BatchNorm offsets, per step of a kernel.
            adam_lr_ratio=1 / 6,
            momentum=0.6,
            ns_steps=3,
            rms_rate=None,
        )
    raise SettingsError(f"Unknown optimizer {name!r}. Choose one of: adam, adamw, sgd, muon.")
