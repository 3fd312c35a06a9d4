"""How soon `quick` reaches the accuracy of the origin's recipe, and how far it gets in three minutes."""

import time

import click
import numpy as np

from benchmarks._common import Enough, Table, benchmark, data_option, say, settings_of, temporary_run

SAMPLE = 1000  # test images asked first; all of them only where these come near the mark
NEAR = 0.04  # more than two standard errors of an accuracy around 70 % on SAMPLE pictures
EVALUATION_BATCH = 500


@benchmark
@data_option
@click.option("--epochs", type=click.IntRange(1), default=15, show_default=True, help="Of the origin's recipe.")
@click.option(
    "--mark",
    type=(float, float),
    metavar="ACCURACY SECONDS",
    help="The origin's result from an earlier run on this machine, instead of running it.",
)
@click.option("--network", type=click.Choice(["lab-net", "seed-cnn"]), default="lab-net", show_default=True)
@click.option("--quick-epochs", type=click.IntRange(1), default=1, show_default=True, help="For the way to the mark.")
@click.option("--quick-fraction", type=float, default=1.0, show_default=True, help="Of the data, on that way.")
@click.option("--checks", type=click.IntRange(1), default=20, show_default=True, help="Looks at the test set an epoch.")
@click.option("--minutes", type=float, default=3.0, show_default=True, help="For `quick` to get far; 0 to leave out.")
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Share of the training data, for a try.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(data, epochs, mark, network, quick_epochs, quick_fraction, checks, minutes, fraction, seed):
    """Time to accuracy: the origin's recipe in plain Keras `fit`, then the `quick` recipe.

    The origin: its network on pixels divided by 255, Adam, batches of 32, float32, no augmentation; its best
    test accuracy is the mark. Then `quick`, in the product's own `train`: the second at which it first reaches
    the mark. Looking at the test set is not counted as training time on either side; building the graph is.
    Wanted: 8 times sooner.
    """
    from cifar_model.data.cache import load_cifar10
    from cifar_model.networks.backend import import_keras

    import_keras()
    (images, labels), test = load_cifar10(data)
    kept = max(32, round(len(images) * fraction))
    images, labels = np.asarray(images[:kept]), labels[:kept]
    test = np.asarray(test[0]), test[1]

    table = Table(
        "Time to accuracy",
        ["run", "epochs", "training s", "test accuracy %", "single view %", "times sooner"],
    )
    if mark:
        goal, goal_seconds = mark[0] / 100 if mark[0] > 1 else mark[0], mark[1]
        table.add("the origin's recipe (from --mark)", None, goal_seconds, 100 * goal, None, 1.0)
    else:
        goal, goal_seconds, best_epoch, total = origin(images, labels, test, epochs, seed)
        table.add("the origin's recipe, its best", best_epoch, goal_seconds, 100 * goal, 100 * goal, 1.0)
        table.notes.append(f"The origin's {epochs} epochs take {total:.0f} s of training.")

    options = {"data": data, "fraction": fraction, "seed": seed}
    short = options | {"fraction": fraction * quick_fraction}
    clock = quick(network, quick_epochs, short, test, goal=goal, checks=checks)
    title = f"{network} quick --epochs {quick_epochs}"
    if quick_fraction < 1:
        title += f" --fraction {quick_fraction:g}"
    if clock.reached:
        seconds, epoch, averaged, single = clock.reached
        table.add(f"{title}, at the mark", epoch, seconds, 100 * averaged, 100 * single, goal_seconds / seconds)
    else:
        table.add(f"{title} never came there", None, None, None, None, None)
    seconds, epoch, averaged, single = clock.last
    table.add(f"{title}, at its end", epoch, seconds, 100 * averaged, 100 * single, None)
    table.notes.append(
        f"Before its first step `quick` measures which precision is faster and builds the network: "
        f"{clock.preparing:.1f} s, not counted, as building the origin's network isn't."
    )
    if minutes:
        # The schedule falls to zero at its end, so it must end in time: so many epochs fit.
        fitting = max(1, int(60 * minutes * 0.97 * quick_epochs * quick_fraction / seconds))
        say(f"{fitting} epochs of quick fit into {minutes:g} minutes.")
        clock = quick(network, fitting, options, test, limit=60 * minutes)
        seconds, epoch, averaged, single = clock.last
        title = f"{network} quick --epochs {fitting}, within {minutes:g} min"
        table.add(title, epoch, seconds, 100 * averaged, 100 * single, None)
    table.notes.append(
        "Training s: without the looks at the test set, graph building included; for quick also its own progress "
        "lines, validation and saving. Test accuracy: as the product answers, for lab-net the mean over a picture "
        "and its mirror image; single view without the mirror image."
    )
    return table


def origin(images, labels, test, epochs: int, seed: int) -> tuple[float, float, int, float]:
    """The origin's script in plain Keras: (best test accuracy, training seconds until then, epoch, all seconds)."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input((32, 32, 3))])
    for filters in (32, 64):
        network.add(layers.Conv2D(filters, 3, activation="relu"))
        network.add(layers.BatchNormalization())
        network.add(layers.MaxPooling2D(2))
        network.add(layers.Dropout(0.2))
    network.add(layers.Conv2D(64, 3, activation="relu"))
    network.add(layers.BatchNormalization())
    network.add(layers.Flatten())
    network.add(layers.Dense(64, activation="relu"))
    network.add(layers.Dropout(0.2))
    network.add(layers.Dense(10, activation="softmax"))
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    best = (0.0, 0.0, 0)
    evaluating = 0.0

    class AfterEpoch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            nonlocal best, evaluating
            now = time.perf_counter()
            seconds = now - start - evaluating
            answers = predict(network, test[0] / np.float32(255))
            accuracy = float((answers.argmax(1) == test[1]).mean())
            evaluating += time.perf_counter() - now
            if accuracy > best[0]:
                best = accuracy, seconds, epoch + 1
            say(f"origin, epoch {epoch + 1}: test accuracy {100 * accuracy:.2f} % after {seconds:.1f} s of training")

    scaled = images / np.float32(255)
    start = time.perf_counter()
    network.fit(scaled, labels, batch_size=32, epochs=epochs, verbose=0, callbacks=[AfterEpoch()])
    return *best, time.perf_counter() - start - evaluating


def predict(network, images: np.ndarray) -> np.ndarray:
    parts = range(0, len(images), EVALUATION_BATCH)
    return np.concatenate([network.predict_on_batch(images[i : i + EVALUATION_BATCH]) for i in parts])


def quick(network: str, epochs: int, options: dict, test, *, goal: float | None = None, checks=1, limit=None):
    """Train with the quick recipe and watch the test set.

    Returns an object with `preparing` (seconds before the first step), `reached` (None, or seconds, epochs,
    accuracy averaged over the mirror image, accuracy of a single view: the first time that the goal was met) and
    `last` (the same at the end of the run, or at the last look within `limit` seconds).
    """
    import keras

    from cifar_model.training.train import train

    averages = network == "lab-net"

    def look(model, n: int) -> tuple[float, float]:
        images, labels = test[0][:n], test[1][:n]
        answers = single = predict(model, images)
        if averages:
            answers = single + predict(model, images[:, :, ::-1])
        return float((answers.argmax(1) == labels).mean()), float((single.argmax(1) == labels).mean())

    class Clock(keras.callbacks.Callback):
        reached = last = None
        looking = preparing = 0.0

        def on_train_begin(self, logs=None):
            self.start = time.perf_counter()
            self.preparing = self.start - called
            self.steps, self.epochs, self.epoch = self.params["steps"], self.params["epochs"], 0
            self.stride = max(1, round(self.steps / checks))

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            now = time.perf_counter()
            seconds, done = now - self.start - self.looking, self.epoch + (batch + 1) / self.steps
            over = limit is not None and seconds > limit
            ended = done == self.epochs
            if over and self.last is None:
                self.last = (seconds, round(done, 2), *look(self.model, len(test[0])))
            if over:
                raise Enough
            if ended or (batch + 1) % self.stride == 0 and (goal is not None or batch + 1 == self.steps):
                self.note(seconds, round(done, 2), ended)
            self.looking += time.perf_counter() - now
            if ended:
                raise Enough

        def note(self, seconds, done, ended):
            every = len(test[0])
            sample = every if ended or goal is None else SAMPLE
            averaged, single = look(self.model, sample)
            if goal is not None and not self.reached and averaged >= goal - NEAR:
                if sample < every:
                    averaged, single = look(self.model, every)
                if averaged >= goal:
                    self.reached = (seconds, done, averaged, single)
            self.last = (seconds, done, averaged, single)
            say(f"quick, epoch {done:.2f}: test accuracy {100 * averaged:.2f} % after {seconds:.1f} s of training")

    clock = Clock()
    with temporary_run() as run:
        called = time.perf_counter()
        try:
            train(settings_of(network, "quick", epochs=epochs, **options), run, callbacks=[clock])
        except Enough:
            pass
    return clock


if __name__ == "__main__":
    main()
