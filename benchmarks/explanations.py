"""How faithful explanations are: what it costs a class when the pixels that are said to speak for it are removed."""

import time
from collections.abc import Callable

import click
import numpy as np

from benchmarks._common import Table, benchmark, data_option, median_seconds, say

IG_STEPS, SMOOTHGRAD_NOISE = 16, 30.0  # as many gradients as the shipped method takes; noise in grey levels
CHUNK = 50  # pictures
STAND_INS = ("mean colour", "blurred", "noise", "another picture")
ON_CARD = "another picture"  # the shipped method hides by mean colour and blur: that is its own objective


@benchmark
@data_option
@click.option("--model", "models", multiple=True, default=["lab-net", "seed-cnn"], show_default=True)
@click.option("--images", "count", type=click.IntRange(2), default=500, show_default=True)
@click.option(
    "--split",
    type=click.Choice(["test", "held-out"]),
    default="test",
    show_default=True,
    help="held-out: of the training images those that `train` holds out, by which the method was chosen.",
)
@click.option("--method", "chosen", multiple=True, help="Only those whose name begins so [default: all].")
@click.option("--write-card", is_flag=True, help="Write the shipped method's figures into each model's card.json.")
def main(data, models, count, split, chosen, write_card):
    """Faithfulness: the drop of the top class's probability when the 20 % of pixels with the most evidence are removed.

    Beside it what removing as many pixels at random costs: single pixels, and patches of the very shapes that the
    shipped method marks (those of another picture, moved about at random). Removed pixels are painted in the
    picture's mean colour, or blurred: those two the shipped method hides by itself, so they are its own objective. Two
    more it never uses: noise, and the pixels of another picture. The last column is insertion (Petsiuk et al. 2018):
    the probability of the class when the marked fifth alone is put into that other picture.
    Wanted: a larger drop than at random, in at most 0.5 s a picture for lab-net.
    """
    from cifar_model.answering.classifier import Classifier
    from cifar_model.answering.evidence import METHODS, Explainer
    from cifar_model.data.cache import load_cifar10
    from cifar_model.data.split import split_by_content
    from cifar_model.errors import SettingsError
    from cifar_model.models.card import write_card as save_card

    train, test = load_cifar10(data)
    if split == "test":
        pictures = np.asarray(test[0][:count])
    else:
        pictures = np.asarray(train[0][split_by_content(train[0], 0.05).held_out[:count]])
    shipped = next(iter(METHODS))
    table = Table(
        f"Mean drop of the top class's probability, {len(pictures)} {split} pictures, 20 % of the pixels removed",
        ["network", "pixels removed", *STAND_INS, "inserted", "s a picture"],
    )
    for model in models:
        classifier = Classifier(model)
        faithfulness = Faithfulness(classifier, pictures)
        explainer = Explainer(classifier.network)
        methods = {name: find for name, find in finders(explainer).items() if name.startswith(chosen or "")}
        if not methods:
            known = "; ".join(finders(explainer))
            raise SettingsError(f"No method begins with {' or '.join(chosen)}. There are: {known}.")
        if write_card:
            methods = {shipped: finders(explainer)[shipped]} | methods
        table.add(
            model,
            "none: probability before",
            *[float(faithfulness.top.mean())] * len(STAND_INS),
            faithfulness.inserted(None),
            None,
        )
        rng = np.random.default_rng(0)
        at_random = rng.random(pictures.shape[:3])
        pixels = faithfulness.drops(at_random)
        table.add(model, "random pixels", *pixels.values(), faithfulness.inserted(at_random), None)
        for name, find in methods.items():
            start = time.perf_counter()
            heat = np.concatenate(
                [find(pictures[i : i + CHUNK], faithfulness.classes[i : i + CHUNK]) for i in range(0, count, CHUNK)]
            )
            seconds = median_seconds(lambda find=find, f=faithfulness: find(pictures[:1], f.classes[:1]), repeats=5)
            drops = faithfulness.drops(heat)
            inserted = faithfulness.inserted(heat)
            table.add(model, name, *drops.values(), inserted, seconds)
            say(f"{model}, {name}: {drops['mean colour']:.3f} ({time.perf_counter() - start:.0f} s)")
            if name != shipped:
                continue
            shapes = [
                np.roll(other, rng.integers(0, other.shape[0], 2), axis=(0, 1)) for other in np.roll(heat, 1, axis=0)
            ]
            patches, by_chance = faithfulness.drops(np.array(shapes)), faithfulness.inserted(np.array(shapes))
            table.add(model, f"random patches, shaped as {shipped}'s", *patches.values(), by_chance, None)
            if write_card and classifier.path.is_dir():
                card = dict(classifier.card.stored)
                measured = {
                    stand_in: {
                        "drop_marked": drops[stand_in],
                        "drop_random": pixels[stand_in],
                        "drop_elsewhere": patches[stand_in],
                    }
                    for stand_in in STAND_INS
                }
                card["explanation"] = {
                    "method": shipped,
                    "images": len(pictures),
                    "removed": f"replaced by {ON_CARD}",
                    **measured[ON_CARD],
                    "stand_ins": measured,
                    "inserted": {"marked": inserted, "elsewhere": by_chance},
                    "seconds": seconds,
                }
                save_card(classifier.path, card)
                say(f"Written to {classifier.path}.")
    table.notes.append(
        "Heat of single pixels is smoothed by a Gaussian of 1 pixel, as the shipped method's is, but where it says "
        "unsmoothed. CAMs are enlarged bilinearly. Seconds: median of 5 pictures asked one by one."
    )
    return table


class Faithfulness:
    """What removing pixels costs the class that `classifier` holds most probable in each of `pictures`."""

    def __init__(self, classifier, pictures: np.ndarray):
        from cifar_model.answering.evidence import blurred

        self._predict, self._pictures = classifier.predict, pictures
        answers = classifier.predict(pictures)
        self.classes = answers.argmax(axis=1)
        self.top = answers.max(axis=1)
        mean = np.broadcast_to(pictures.mean(axis=(1, 2), keepdims=True), pictures.shape)
        noise = np.random.default_rng(1).integers(0, 256, pictures.shape)
        self._others = np.roll(pictures, 1, axis=0)
        stand_ins = (mean, blurred(pictures), noise, self._others)
        self._stand_ins = [np.rint(stand_in).astype(np.uint8) for stand_in in stand_ins]

    def drops(self, heat: np.ndarray) -> dict[str, float]:
        """Mean loss of probability without the fifth with the most heat (n, 32, 32), by what stands in its place."""
        from cifar_model.answering.evidence import mark

        marked = mark(heat)[..., None]
        versions = (np.where(marked, stand_in, self._pictures) for stand_in in self._stand_ins)
        return {
            name: float((self.top - self._given(one)).mean()) for name, one in zip(STAND_INS, versions, strict=True)
        }

    def inserted(self, heat: np.ndarray | None) -> float:
        """Mean probability of the class in another picture that holds the fifth with the most heat; None: nothing."""
        from cifar_model.answering.evidence import mark

        if heat is None:
            return float(self._given(self._others).mean())
        return float(self._given(np.where(mark(heat)[..., None], self._pictures, self._others)).mean())

    def _given(self, pictures: np.ndarray) -> np.ndarray:
        return self._predict(pictures)[np.arange(len(pictures)), self.classes]


def finders(explainer) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """The methods by name: (pictures uint8 (n, 32, 32, 3), classes (n,)) → heat (n, 32, 32)."""
    from cifar_model.answering.evidence import METHODS, as_heat

    def over(find, smooth):
        def run(pictures, classes):
            signed = find(pictures.astype(np.float32), classes)
            return as_heat(signed) if smooth else signed

        return run

    def integrated(pictures, classes):
        """Sundararajan et al. (2017), from the mean colour."""
        mean = pictures.mean(axis=(1, 2), keepdims=True)
        shares = (np.arange(IG_STEPS) + 0.5) / IG_STEPS
        total = sum(explainer.gradients(mean + share * (pictures - mean), classes) for share in shares)
        return (total * (pictures - mean)).sum(axis=-1)

    def smoothgrad(pictures, classes):
        """Smilkov et al. (2017), times the input's distance from the mean colour."""
        rng = np.random.default_rng(0)
        noise = [rng.normal(0, SMOOTHGRAD_NOISE, pictures.shape[1:]) for _ in range(IG_STEPS)]
        total = sum(explainer.gradients(pictures + one, classes) for one in noise)
        return (total * (pictures - pictures.mean(axis=(1, 2), keepdims=True))).sum(axis=-1)

    found = {
        method: lambda pictures, classes, method=method: explainer.explain(pictures, classes, method=method)
        for method in METHODS
    }
    for name, find in (("Integrated Gradients", integrated), ("SmoothGrad × input", smoothgrad)):
        found[name] = over(find, True)
        found[f"{name}, unsmoothed"] = over(find, False)
    for layer in _cam_layers(explainer.logits):
        side = layer.output.shape[1]
        for name, weigh in CAMS.items():
            found[f"{name}, {side}×{side} maps"] = over(cam(explainer, layer, weigh), False)
    return found


def _cam_layers(network) -> list:
    """The last layer with maps, and of the finer ones the last whose maps are nearest to 16×16."""
    maps = [layer for layer in network.layers if len(layer.output.shape) == 4 and layer.output.shape[1]]
    finer = min(reversed(maps), key=lambda layer: abs(layer.output.shape[1] - 16))
    return [maps[-1], finer] if finer is not maps[-1] else [finer]


def _grad_cam(maps, slopes):
    """Selvaraju et al. (2017)."""
    return (maps * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1)


def _hires_cam(maps, slopes):
    """Draelos & Carin (2020)."""
    return (maps * slopes).sum(axis=-1)


def _layer_cam(maps, slopes):
    """Jiang et al. (2021)."""
    return (maps * np.maximum(slopes, 0)).sum(axis=-1)


CAMS = {"Grad-CAM": _grad_cam, "HiResCAM": _hires_cam, "LayerCAM": _layer_cam}


def cam(explainer, layer, weigh: Callable) -> Callable:
    """A class activation map of one layer, enlarged; of both views where the network averages them."""
    import keras
    import tensorflow as tf

    from cifar_model.answering.evidence import tensor_log_odds

    network = keras.Model(explainer.logits.inputs, [layer.output, explainer.logits.output])

    spec = [tf.TensorSpec((None, *pixels.shape[1:]), pixels.dtype) for pixels in explainer.logits.inputs]

    @tf.function(input_signature=[*spec, tf.TensorSpec((None,), tf.int32)])
    def slopes_of(pictures, classes):
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            maps, logits = network(pictures, training=False)
            odds = tensor_log_odds(logits, classes)
        return maps, tape.gradient(odds, maps)

    def single(pictures, classes):
        maps, slopes = (part.numpy() for part in slopes_of(tf.constant(pictures), tf.constant(classes, tf.int32)))
        heat = np.maximum(weigh(maps, slopes), 0)
        return tf.image.resize(heat[..., None], pictures.shape[1:3]).numpy()[..., 0]

    def find(pictures, classes):
        heat = single(pictures, classes)
        if explainer.mirrors:
            mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
            heat = (heat + single(mirrored, classes)[:, :, ::-1]) / 2
        return heat

    return find


if __name__ == "__main__":
    main()
