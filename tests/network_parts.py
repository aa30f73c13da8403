"""Compares exported forms with fitted networks, and checks batches of pictures; runs as its own process.

Prints one JSON object. Differences are the largest ones, relative to the largest value.
"""

import json
import tempfile
from pathlib import Path

import keras
import numpy as np

from common.inference.bundle import NETWORK
from common.inference.network import Network
from train.export.network import serving_network, write_network
from train.fit.folded_tabular import fold_tabular
from train.fit.heatmap import with_heat
from train.fit.image_batches import ImageBatches
from train.fit.novelty import nearest_label
from train.fit.pretrained import build_classifier
from train.fit.residual import build_residual
from train.fit.tabular import build_tabular

SIDE = 64


def difference(values: object, expected: object) -> float:
    actual, reference = np.asarray(values, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(actual - reference).max() / np.abs(reference).max())


def batches(generator: np.random.Generator) -> dict[str, object]:
    """The shapes of the batches of a ten-epoch fit, whether an epoch is reproducible, and how often it was traced."""
    pictures = generator.integers(0, 256, (70, 64, 64, 3), np.uint8)
    batches = ImageBatches(pictures, np.arange(70) % 3, 3, seed=5, image_size=48)
    batches.set_epochs(10)
    first = list(batches.epoch(2))
    next(iter(batches.epoch(9)))  # measuring a plan abandons an epoch in the middle
    again, another = list(batches.epoch(2)), list(batches.epoch(3))
    pairs = [pair for batch, repeated in zip(first, again, strict=True) for pair in zip(batch, repeated, strict=True)]
    return {
        "steps": [batches.steps_per_epoch, len(first), len(another)],
        "shapes": sorted({str(tuple(pixels.shape)) for pixels, _ in [*first, *another, *batches.epoch(9)]}),
        "is_reproducible": all(np.array_equal(array, repeated) for array, repeated in pairs),
        "target_sum_error": float(
            max(np.abs(np.array(targets).sum(axis=1) - 1).max() for _, targets in [*first, *another])
        ),
        "mixed_share": float(np.mean([np.array(targets).max(axis=1) < 1 for _, targets in [*first, *another]])),
        "change_between_epochs": float(np.abs(np.array(first[0][0]) - np.array(another[0][0])).max()),
        "traces": batches.augment.experimental_get_tracing_count(),
        "first_sizes": [ImageBatches(pictures, np.zeros(70, int), 3, 5, side).side(0) for side in (24, 36, 64, 112)],
    }


def small_backbone() -> keras.Model:
    pixels = keras.Input((SIDE, SIDE, 3))
    return keras.Model(pixels, keras.layers.Conv2D(8, 3, 16, activation="relu")(pixels / 255))


def heat(generator: np.random.Generator, folder: Path, model: keras.Model, mirrored: bool) -> dict[str, object]:
    """Whether the heat of all regions adds up to the logits, and whether the exported network agrees."""
    model.set_weights([generator.normal(0.2, 0.1, weight.shape).astype(np.float32) ** 2 for weight in model.weights])
    network = with_heat(model, SIDE, mirrored)
    pixels = generator.uniform(0, 255, (5, SIDE, SIDE, 3)).astype(np.float32)
    logits, embedding, regions = (np.array(output) for output in network(pixels))
    kernel, bias = model.get_layer("head").get_weights()
    mean = regions.mean(axis=(1, 2))
    scale = (mean * (embedding @ kernel)).sum(axis=1, keepdims=True) / (mean**2).sum(axis=1, keepdims=True)
    write_network(serving_network(network, nearest_label(embedding, np.arange(5) % 3), 1.0), folder)
    exported = Network(folder / NETWORK).run(pixels[:1])
    return {
        "logits": list(logits.shape),
        "shape": list(regions.shape),
        "length": float(np.linalg.norm(embedding, axis=1).max()),
        "sum_difference": difference(scale * regions.mean(axis=(1, 2)) + bias, logits.mean(axis=1)),
        "export_difference": difference(exported["heat"], regions[:1]),
        "mirror_difference": difference(np.array(network(pixels[:, :, ::-1])[2])[:, :, ::-1], regions),
    }


def folded(generator: np.random.Generator) -> dict[str, float]:
    """The folded network compared with the fitted one, for some members; with categories, numbers, or both."""
    differences = {}
    for name, numbers, slots, chosen in (
        ("both", 4, [3, 30], [2, 0]),
        ("one member", 4, [3], [1]),
        ("numbers", 3, [], [0, 1, 2]),
        ("categories", 0, [3, 5], [1, 2]),
    ):
        model = build_tabular(numbers, slots, 3, 3, 16)
        model.set_weights([generator.uniform(0.2, 1, weight.shape).astype(np.float32) for weight in model.weights])
        rows = np.concatenate(
            [generator.normal(size=(9, numbers)), generator.integers(0, 3, (9, len(slots)))], axis=1
        ).astype(np.float32)
        expected = np.array(model(rows)[0])[:, chosen]
        differences[name] = difference(fold_tabular(model, chosen, slots)(rows)[0], expected)
    return differences


def main() -> None:
    generator = np.random.default_rng(0)
    models = {"from scratch": build_residual(3), "pretrained": build_classifier(small_backbone(), 3)}
    with tempfile.TemporaryDirectory() as folder:
        heats = {name: heat(generator, Path(folder), model, name != "pretrained") for name, model in models.items()}
    print(json.dumps({"folded": folded(generator), "heat": heats, "batches": batches(generator)}))


if __name__ == "__main__":
    main()
