"""Folds the fitted network for rows into plain dense layers, which need a third of the operations.

Normalisation is folded into the layer before it, the members' signs and the scaling into the first layer, and the
mappings of single numbers into one layer. The outputs are equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from train.fit.tabular import LAYERS, MAPPINGS, ParametricSilu, category_inputs


def fold_tabular(model: keras.Model, chosen: list[int], slots: list[int]) -> keras.Model:
    """The folded form of a `build_tabular` network with only the chosen members.

    Float32 (n, numbers + categories) -> logits (n, chosen, classes) and embedding (n, width) of the first chosen one.
    `slots`: the number of slots of each category.
    """
    inputs = keras.Input(model.inputs[0].shape[1:], name="rows")
    numbers = inputs.shape[1] - len(slots)
    features: list[Any] = []
    # For each folded feature, its index among the features of the fitted network.
    order: list[int] = []
    weights: dict[Any, Sequence[np.ndarray]] = {}
    if numbers:
        waves, mapped = _number_layers(model.get_layer("numbers"), weights)
        plain = inputs[:, :numbers]
        features += [plain, mapped(keras.ops.cos(waves(plain)))]
        # The fitted network puts each number next to its mappings, the folded one puts all numbers first.
        order = [number * (MAPPINGS + 1) for number in range(numbers)]
        order += [index for index in range(numbers * (MAPPINGS + 1)) if index % (MAPPINGS + 1)]
    features += category_inputs(inputs, slots)
    hidden = keras.layers.Concatenate()(features) if len(features) > 1 else features[0]
    order += range(len(order), hidden.shape[1])

    classes, width = model.get_layer("logits").classes, model.get_layer("dense_0").units
    kernels, biases = zip(*(_first_layer(model, member, order) for member in chosen), strict=True)
    dense = keras.layers.Dense(width * len(chosen), name="dense_0")
    weights[dense] = [np.concatenate(kernels, axis=-1), np.concatenate(biases, axis=-1)]
    hidden = _reshape_members(dense(hidden), width, len(chosen))
    silu = ParametricSilu(name="silu_0")
    weights[silu] = model.get_layer("silu_0").get_weights()
    hidden = silu(hidden)
    for layer in range(1, LAYERS):
        dense, silu = keras.layers.Dense(width, name=f"dense_{layer}"), ParametricSilu(name=f"silu_{layer}")
        weights[dense] = _with_normalisation(model, layer, model.get_layer(f"dense_{layer}").get_weights()[0])
        weights[silu] = model.get_layer(f"silu_{layer}").get_weights()
        hidden = silu(dense(hidden))
    joined = _reshape_members(hidden, width * len(chosen), len(chosen))
    head = keras.layers.Dense(classes * len(chosen), name="head")
    kernel, bias = (array[chosen] for array in model.get_layer("logits").get_weights())
    weights[head] = [_block_diagonal(kernel), bias.reshape(-1)]
    logits = keras.layers.Reshape((len(chosen), classes), name="logits")(head(joined))
    folded = keras.Model(inputs, [logits, joined[:, :width]], name="tabular")
    for layer, arrays in weights.items():
        layer.set_weights([np.asarray(array, np.float32) for array in arrays])
    for category in range(len(slots)):
        folded.get_layer(f"category_{category}").set_weights(model.get_layer(f"category_{category}").get_weights())
    return folded


def _reshape_members(hidden: Any, width: int, members: int) -> Any:
    return keras.ops.reshape(hidden, (-1, width)) if members > 1 else hidden


def _number_layers(layer: Any, weights: dict[Any, Sequence[np.ndarray]]) -> tuple[Any, Any]:
    """Layers from numbers to angles, and from the cosines of the angles to the mappings; fills in their weights."""
    frequencies, phases, mapping, bias = (np.array(weight) for weight in layer.weights)
    waves, mapped = keras.layers.Dense(frequencies.size, name="waves"), keras.layers.Dense(bias.size, name="mapped")
    weights[waves] = [_block_diagonal(2 * np.pi * frequencies[:, None, :]), phases.reshape(-1)]
    weights[mapped] = [_block_diagonal(mapping), bias.reshape(-1)]
    return waves, mapped


def _first_layer(model: keras.Model, member: int, order: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the first layer for this member."""
    signs = model.get_layer("members").get_weights()[0][member] * model.get_layer("scaling").get_weights()[0]
    kernel = model.get_layer("dense_0").get_weights()[0] * signs[:, None]
    return _with_normalisation(model, 0, kernel[order])


def _with_normalisation(model: keras.Model, layer: int, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias equivalent to the layer followed by its normalisation."""
    norm = model.get_layer(f"norm_{layer}")
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return kernel * scale, beta - mean * scale


def _block_diagonal(blocks: np.ndarray) -> np.ndarray:
    """(n, rows, columns) -> (n * rows, n * columns), with the n blocks along the diagonal and zeros elsewhere."""
    count, rows, columns = blocks.shape
    matrix = np.zeros((count, rows, count, columns))
    matrix[np.arange(count), :, np.arange(count)] = blocks
    return matrix.reshape(count * rows, count * columns)
