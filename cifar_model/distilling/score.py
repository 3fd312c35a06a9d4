"""What a network scores on photographs after learning from distilled pictures alone."""

import time

import numpy as np

from cifar_model.data.sources import MINI, Split
from cifar_model.networks.backend import import_keras
from cifar_model.networks.build import build_network, set_whitening
from cifar_model.networks.views import mirror_average
from cifar_model.training.batches import epoch_batches, shrink
from cifar_model.training.recipes import resolution_at, schedule_factor
from cifar_model.training.settings import Settings


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
    from cifar_model.networks.optimizers import build_optimizer

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
