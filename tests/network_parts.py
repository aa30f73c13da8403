"""What answers beside what was fitted, and batches of pictures; run in a process of its own, since TensorFlow is dear.

Prints one JSON object: the largest differences, relative to the largest value.
"""

import json
import tempfile
from pathlib import Path

import keras
import numpy as np

from common.bundle import NETWORK
from common.network import Network
from train.bundle.export import serving_network, write_network
from train.bundle.novelty import nearest_label
from train.fit.heat import with_heat
from train.fit.image_batches import ImageBatches
from train.fit.plain_tabular import plain_tabular
from train.fit.pretrained import build_classifier
from train.fit.residual import build_residual
from train.fit.tabular import build_tabular

SIDE = 64


def apart(one: object, other: object) -> float:
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(np.abs(first - second).max() / np.abs(second).max())


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


def small_backbone() -> keras.Model:
    pixels = keras.Input((SIDE, SIDE, 3))
    return keras.Model(pixels, keras.layers.Conv2D(8, 3, 16, activation="relu")(pixels / 255))


def heat(generator: np.random.Generator, folder: Path, model: keras.Model, mirrored: bool) -> dict[str, object]:
    """What each part of a picture adds to the logits, and whether the exported network says the same."""
    model.set_weights([generator.normal(0.2, 0.1, one.shape).astype(np.float32) ** 2 for one in model.weights])
    whole, pixels = with_heat(model, SIDE, mirrored), generator.uniform(0, 255, (5, SIDE, SIDE, 3)).astype(np.float32)
    logits, embedding, parts = (np.array(one) for one in whole(pixels))
    kernel, bias = model.get_layer("head").get_weights()
    mean = parts.mean(axis=(1, 2))
    scale = (mean * (embedding @ kernel)).sum(axis=1, keepdims=True) / (mean**2).sum(axis=1, keepdims=True)
    write_network(serving_network(whole, nearest_label(embedding, np.arange(5) % 3), 1.0), folder)
    found = Network(folder / NETWORK).run(pixels[:1])
    return {
        "logits": list(logits.shape),
        "shape": list(parts.shape),
        "length": float(np.linalg.norm(embedding, axis=1).max()),
        "sum": apart(scale * parts.mean(axis=(1, 2)) + bias, logits.mean(axis=1)),
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


def main() -> None:
    generator = np.random.default_rng(0)
    models = {"from nothing": build_residual(3), "pretrained": build_classifier(small_backbone(), 3)}
    with tempfile.TemporaryDirectory() as folder:
        found = {name: heat(generator, Path(folder), one, name != "pretrained") for name, one in models.items()}
    print(json.dumps({"plain": plain(generator), "heat": found, "batches": batches(generator)}))


if __name__ == "__main__":
    main()
