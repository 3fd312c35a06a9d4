"""What networks learn from the distilled images alone, next to as many random real photographs."""

import click
import numpy as np

from benchmarks._common import Table, benchmark, data_option, say


@benchmark
@data_option
@click.option("--network", "networks", multiple=True, default=("seed-cnn",), show_default=True, help="May be repeated.")
@click.option("--recipe", default="quick", show_default=True, help="As in train --data mini.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1, 20), help="Trainings of each kind.")
@click.option("--folder", help="Distilled images [default: those that ship].")
def main(data, networks, recipe, runs, folder):
    """Train on the distilled images, and on as many random real ones; score both on the real test images.

    Wanted: seed-cnn at 50 % or better, after at most 60 seconds of training on two cores.
    """
    from cifar_model.data.cache import load_cifar10
    from cifar_model.data.distilled import read_mini
    from cifar_model.distilling.score import score

    (images, labels), test = load_cifar10(data)
    distilled, _ = read_mini(folder)
    n = len(distilled[1]) // 10
    table = Table(
        f"{10 * n} pictures, recipe {recipe}: accuracy on {len(test[1]):,} real test images, mean of {runs} runs",
        ("network", "distilled", "spread", "random real", "spread", "difference", "seconds of training"),
    )
    for network in networks:
        found = {"distilled": [], "real": []}
        seconds = []
        for run in range(runs):
            rng = np.random.default_rng(run)
            rows = np.concatenate([rng.choice(np.flatnonzero(labels == c), n, replace=False) for c in range(10)])
            for name, pictures in (("distilled", distilled), ("real", (np.asarray(images[rows]), labels[rows]))):
                accuracy, took = score(pictures, test, seed=run, network=network, recipe=recipe)
                found[name].append(100 * accuracy)
                seconds.append(took)
                say(f"{network}, {name}, run {run + 1}: {100 * accuracy:.2f} % in {took:.0f} s")
        means = {name: float(np.mean(values)) for name, values in found.items()}
        spread = {name: float(np.ptp(values)) for name, values in found.items()}
        table.add(
            network,
            means["distilled"],
            spread["distilled"],
            means["real"],
            spread["real"],
            means["distilled"] - means["real"],
            float(np.mean(seconds)),
        )
    table.notes.append("Accuracies in percent; spread: best run less worst. Nothing is chosen by the test images.")
    return table


if __name__ == "__main__":
    main()
