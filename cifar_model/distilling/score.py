"""What a network scores on photographs after learning from distilled images alone."""

import time

from cifar_model.data.sources import MINI, Split
from cifar_model.networks.backend import import_keras
from cifar_model.training.network import Networks, compiled_network, deployable_network
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
    keras = import_keras()
    from cifar_model.training.batches import Batches
    from cifar_model.training.callbacks import Schedule

    settings = Settings(network=network, recipe=recipe, epochs=epochs, data=MINI, seed=seed)
    keras.utils.set_random_seed(seed)
    batches = Batches(*pictures, settings=settings)
    learner = compiled_network(settings, pictures[0], precision="float32", total_steps=len(batches))
    began = time.perf_counter()
    learner.fit(
        batches.show_shapes(),
        epochs=settings.epochs,
        steps_per_epoch=batches.steps,
        shuffle=False,
        verbose=0,
        callbacks=[Schedule(settings, batches.steps)],
    )
    seconds = time.perf_counter() - began
    networks = Networks(learner, deployable_network(settings))
    networks.deploy()
    answers = networks.deployed.predict(test[0], batch_size=500, verbose=0)
    return float((answers.argmax(axis=1) == test[1]).mean()), seconds
