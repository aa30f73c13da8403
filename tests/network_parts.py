"""What a fit computes in its own way beside Keras's own; run in a process of its own, since TensorFlow is dear.

Prints one JSON object: the largest differences, relative to the largest value.
"""

import json
import math
import tempfile
from pathlib import Path

import keras
import numpy as np

from common.bundle import NETWORK
from common.network import Network
from train.bundle.export import serving_network, write_network
from train.bundle.novelty import picture_look, picture_novelty
from train.fit.image import NORM_MOMENTUM, ImageBatches, Norm, build_image, with_heat
from train.fit.optimizers import Muon, make_optimizer
from train.fit.plain_image import plain_image
from train.fit.plain_tabular import plain_tabular
from train.fit.tabular import build_tabular

SHAPES = ((288, 64), (128, 64), (100, 64), (64, 64), (64, 300))


def apart(one: object, other: object) -> float:
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(np.abs(first - second).max() / np.abs(second).max())


def orthogonal(generator: np.random.Generator) -> dict[str, float]:
    ours, keras_own = Muon(1e-3), keras.optimizers.Muon(1e-3)
    matrices = [generator.normal(size=shape).astype(np.float32) for shape in SHAPES]
    return {
        str(one.shape): apart(
            ours.zeropower_via_newtonschulz5(keras.ops.convert_to_tensor(one), 5),
            keras_own.zeropower_via_newtonschulz5(keras.ops.convert_to_tensor(one), 5),
        )
        for one in matrices
    }


def convolution(generator: np.random.Generator) -> list[float]:
    """The least and the largest singular value of a kernel's step, as a share of its largest, by Muon and by AdamW."""
    found = []
    for name in ("muon", "adamw"):
        layer = keras.layers.Conv2D(16, 3, use_bias=False)
        layer.build((None, 8, 8, 16))
        optimizer = make_optimizer(name, 1e-2, 0.0)
        before = np.array(layer.kernel)
        # One direction is far stronger than the others.
        gradient = generator.normal(size=before.shape) + 30 * np.ones(before.shape)
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [layer.kernel])
        values = np.linalg.svd((np.array(layer.kernel) - before).reshape(-1, 16), compute_uv=False)
        found.append(float(values.min() / values.max()))
    return found


def norm(generator: np.random.Generator) -> dict[str, float]:
    """Both halves of the channels count as more places of the same ones."""
    inputs = keras.ops.convert_to_tensor(generator.normal(2, 3, (8, 5, 5, 4)).astype(np.float32))

    def beside(array: object) -> object:
        return keras.ops.reshape(array, (8, 5, 10, 2))

    ours, keras_own = Norm(), keras.layers.BatchNormalization(momentum=NORM_MOMENTUM)
    found = {"training": apart(beside(ours(inputs, training=True)), keras_own(beside(inputs), training=True))}
    # Keras takes the variance of the batch itself, the one operation that of what it was drawn from.
    count = 8 * 5 * 10
    wanted = (np.array(keras_own.moving_variance) - NORM_MOMENTUM) * count / (count - 1) + NORM_MOMENTUM
    found["mean"] = apart(ours.moving_mean, keras_own.moving_mean)
    found["variance"] = apart(ours.moving_variance, wanted)
    keras_own.moving_variance.assign(ours.moving_variance)
    found["answering"] = apart(beside(ours(inputs, training=False)), keras_own(beside(inputs), training=False))
    return found


def learned(generator: np.random.Generator) -> keras.Model:
    """A network for pictures with weights as if it had learned."""
    model = build_image(3)
    for one in model.weights:
        spread = (0.5, 1.5) if "variance" in one.path or "gamma" in one.path else (-0.1, 0.1)
        one.assign(generator.uniform(*spread, one.shape))
    return model


def mirrored(generator: np.random.Generator) -> dict[str, float]:
    """How far answers to pictures and to their mirror images are apart, while it learns and when it answers."""
    model, found = learned(generator), {}
    for side in (49, 81, 80):
        pixels = generator.uniform(0, 255, (4, side, side, 3)).astype(np.float32)
        answers, others = model(pixels), model(pixels[:, :, ::-1])
        found[str(side)] = max(apart(one, other) for one, other in zip(others, answers, strict=True))
    return found


def batches(generator: np.random.Generator) -> dict[str, object]:
    """Of eleven epochs: the sides of their pictures, whether one comes again as it was, and how often it was traced."""
    pictures = generator.integers(0, 256, (70, 64, 64, 3), np.uint8)
    made = ImageBatches(pictures, np.arange(70) % 3, 3, seed=5, image_size=48)
    made.planned(10)
    first = list(made.epoch(2))
    next(iter(made.epoch(9)))  # a plan's measurements leave an epoch in the middle
    again, another = list(made.epoch(2)), list(made.epoch(3))
    same = [np.array_equal(one[place], two[place]) for one, two in zip(first, again, strict=True) for place in (0, 1)]
    return {
        "steps": [made.steps, len(first), len(another)],
        "shapes": sorted({str(tuple(pixels.shape)) for pixels, _ in [*first, *another, *made.epoch(9)]}),
        "same": all(same),
        "targets": float(max(np.abs(np.array(targets).sum(axis=1) - 1).max() for _, targets in [*first, *another])),
        "mixed": float(np.mean([np.array(targets).max(axis=1) < 1 for _, targets in [*first, *another]])),
        "another": float(np.abs(np.array(first[0][0]) - np.array(another[0][0])).max()),
        "traced": made._augment.experimental_get_tracing_count(),
        "small": [ImageBatches(pictures, np.zeros(70, int), 3, 5, side).side(0) for side in (24, 36, 64, 112)],
    }


def heat(generator: np.random.Generator, folder: Path, mirrored: bool) -> dict[str, object]:
    """What each part of a picture adds to the logits, and whether the exported network says the same."""
    model = build_image(3)
    model.set_weights([generator.normal(0.2, 0.1, one.shape).astype(np.float32) ** 2 for one in model.weights])
    side = 64 if mirrored else 65  # with the mirror image as a member, any side will do
    whole, pixels = with_heat(model, side, mirrored), generator.uniform(0, 255, (5, side, side, 3)).astype(np.float32)
    logits, embedding, parts = (np.array(one) for one in whole(pixels))
    bias = model.get_layer("head").get_weights()[1]
    serving = serving_network(whole, picture_novelty((pixels, embedding), np.arange(5) % 3, (pixels, embedding)), 1.0)
    write_network(serving, folder)
    found = Network(folder / NETWORK).run(pixels[:1])
    return {
        "logits": list(logits.shape),
        "shape": list(parts.shape),
        "sum": apart(parts.mean(axis=(1, 2)) + bias, logits.mean(axis=1)),
        "exported": apart(found["heat"], parts[:1]),
        "mirrored": apart(np.array(whole(pixels[:, :, ::-1])[2])[:, :, ::-1], parts),
    }


def plain(generator: np.random.Generator) -> dict[str, float]:
    """What answers rows beside the fitted network, for some of its members; with categories, numbers, or both."""
    found = {}
    for name, numbers, slots, chosen in (
        ("both", 4, [3, 30], [2, 0]),
        ("one member", 4, [3], [1]),
        ("numbers", 3, [], [0, 1, 2]),
        ("categories", 0, [3, 5], [1, 2]),
    ):
        model = build_tabular(numbers, slots, 3, 3, 16)
        model.set_weights([generator.uniform(0.2, 1, one.shape).astype(np.float32) for one in model.weights])
        rows = np.concatenate(
            [generator.normal(size=(9, numbers)), generator.integers(0, 3, (9, len(slots)))], axis=1
        ).astype(np.float32)
        wanted = np.array(model(rows)[0])[:, chosen]
        found[name] = apart(plain_tabular(model, chosen, slots)(rows)[0], wanted)
    return found


def plain_pictures(generator: np.random.Generator) -> dict[str, dict[str, float]]:
    """What answers pictures beside the fitted network, for sides that strides of 2 divide otherwise; its arithmetic."""
    model, found = learned(generator), {}
    for side in (49, 64, 73, 80):
        pixels = generator.uniform(0, 255, (4, side, side, 3)).astype(np.float32)
        plain = plain_image(model, side)
        pairs = zip(plain(pixels), model(pixels), strict=True)
        found[str(side)] = {
            "apart": max(apart(one, other) for one, other in pairs),
            "multiplications": multiplications(plain, side) / multiplications(model, side),
        }
    return found


def look(generator: np.random.Generator) -> float:
    """How far colour and texture are from what their words say, for pictures of one colour, of slopes and of noise."""
    slopes = np.add.outer(np.arange(49) * 2, np.arange(49) * 3)[:, :, None] * (0.2, 0.5, 1)
    pictures = np.stack([np.full((49, 49, 3), 77), slopes, generator.uniform(0, 255, (49, 49, 3))])
    shares = pictures / 255
    change = [np.abs(np.diff(shares, axis=axis)).mean(axis=(1, 2)) for axis in (2, 1)]
    wanted = np.concatenate([shares.mean(axis=(1, 2)), np.sqrt(shares.var(axis=(1, 2)) + 1e-8), *change], axis=1)
    return float(np.abs(np.asarray(picture_look(pictures.astype(np.float32))) - wanted).max())


def multiplications(model: keras.Model, side: int) -> int:
    """Of its convolutions, for one picture."""
    kinds = {keras.layers.Conv2D: 3, keras.layers.DepthwiseConv2D: 2}  # axes of the kernel that each output sums over
    layers = [one for one in model.layers if isinstance(one, tuple(kinds))]
    shapes = keras.Model(model.inputs, [one.output for one in layers]).compute_output_shape((1, side, side, 3))
    axes = [next(axes for kind, axes in kinds.items() if isinstance(one, kind)) for one in layers]
    counts = zip(layers, shapes, axes, strict=True)
    return sum(math.prod(shape) * math.prod(one.kernel.shape[:count]) for one, shape, count in counts)


def main() -> None:
    generator = np.random.default_rng(0)
    found = {"orthogonal": orthogonal(generator), "convolution": convolution(generator), "norm": norm(generator)}
    found |= {
        "plain": plain(generator),
        "plain_pictures": plain_pictures(generator),
        "look": look(generator),
        "mirrored": mirrored(generator),
    }
    with tempfile.TemporaryDirectory() as folder:
        found["heat"] = {name: heat(generator, Path(folder), name == "twice") for name in ("once", "twice")}
    print(json.dumps({**found, "batches": batches(generator)}))


if __name__ == "__main__":
    main()
