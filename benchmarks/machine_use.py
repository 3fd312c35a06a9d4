"""How much of the machine a training uses: its FLOP/s over those of a large matrix product, interleaved."""

import itertools
import time

import click
import numpy as np

from benchmarks._common import Table, benchmark, compiled_network, data_option, settings_of
from cifar_model.training.settings import PRECISIONS


@benchmark
@data_option
@click.option("--network", type=click.Choice(["lab-net", "seed-cnn"]), default="lab-net", show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--batch-size", type=int, default=500, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=12, show_default=True, help="Of two steps and one product.")
@click.option("--size", type=click.IntRange(16), default=4096, show_default=True, help="Side of the matrices.")
def main(data, network, precision, batch_size, rounds, size):
    """FLOP/s of training over FLOP/s of a large matrix product in the same precision.

    Rounds of two training steps at 32×32 pixels and one product alternate, so that other work on the machine
    slows both. A step is all that `train` does for it: draw and augment the batch, then forward, backward and
    the optimizer. Wanted: a ratio of at least 0.65.
    """
    from cifar_model.data.cache import load_cifar10
    from cifar_model.networks import size as networks_size
    from cifar_model.networks.backend import import_keras
    from cifar_model.training.batches import Batches
    from cifar_model.training.precision import faster_precision

    keras = import_keras()
    from keras import ops

    (images, labels), _ = load_cifar10(data)
    recipe = "quick"
    settings = settings_of(network, recipe, batch_size=min(batch_size, len(images)), augment=True)
    precision = faster_precision() if precision == "auto" else precision
    model = compiled_network(settings, np.asarray(images[:5000]), precision)

    stream = itertools.chain.from_iterable(itertools.repeat(Batches(images, labels, settings=settings)))
    dtype = "bfloat16" if precision == "bfloat16" else "float32"
    rng = np.random.default_rng(0)
    a, b = (ops.cast(rng.standard_normal((size, size), np.float32), dtype) for _ in range(2))

    def step():
        model.train_on_batch(*next(stream), return_dict=True)

    def product():
        # Fetching one number waits for the whole product.
        float(ops.cast(ops.matmul(a, b)[0, 0], "float32"))

    for _ in range(3):
        step()
        product()
    multiply_adds = networks_size.multiply_adds(network)
    step_flop = 3 * 2 * multiply_adds * settings.batch_size
    product_flop = 2 * size**3
    step_speeds, product_speeds, inputs = [], [], []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        step()
        middle = time.perf_counter()
        product()
        end = time.perf_counter()
        next(stream)
        inputs.append(time.perf_counter() - end)
        step_speeds.append(2 * step_flop / (middle - start))
        product_speeds.append(product_flop / (end - middle))
    step_speed, product_speed = np.median(step_speeds), np.median(product_speeds)
    ratio = float(np.median(np.divide(step_speeds, product_speeds)))
    images_per_second = step_speed / (3 * 2 * multiply_adds)
    input_share = float(np.median(inputs)) * images_per_second / settings.batch_size

    table = Table("Machine use", ["work", "precision", "GFLOP/s", "images/s", "over the product"])
    work = f"{network} training, batches of {settings.batch_size}"
    table.add(work, precision, step_speed / 1e9, images_per_second, ratio)
    table.add(f"matrix product {size}×{size}×{size}", precision, product_speed / 1e9, None, 1.0)
    table.notes += [
        f"Counted: 2 FLOP a multiply-add, {multiply_adds / 1e6:.0f} M of them in a forward pass over one picture, "
        "three times that for a training step (forward, gradients of activations, gradients of weights), although "
        "the fixed first layer needs fewer. Timed, not counted: normalisation, pooling, optimizer, augmentation.",
        f"Drawing and augmenting a batch takes {100 * input_share:.1f} % of a step.",
        f"Medians of {rounds} interleaved rounds; the ratio is the median of the rounds' own ratios. "
        f"Backend: {keras.backend.backend()}.",
    ]
    return table


if __name__ == "__main__":
    main()
