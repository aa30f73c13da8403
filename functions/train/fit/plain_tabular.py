"""The fitted network for rows as what answers computes it: plain dense layers alone, a third of the operations.

Normalisation goes into the layer before it, members' signs and scales into the first one, and maps of each number by
itself become one layer of all of them. What comes out is the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from train.fit.tabular import LAYERS, MAPPED, ParametricSilu, category_inputs

Weights = tuple[np.ndarray, np.ndarray]


def plain_tabular(model: keras.Model, chosen: list[int], slots: list[int]) -> keras.Model:
    """A network of `build_tabular` with these of its members alone.

    Float32 (n, numbers + categories) -> logits (n, chosen, classes) and embedding (n, width) of the first of them.
    """
    inputs = keras.Input(model.inputs[0].shape[1:], name="rows")
    numbers = inputs.shape[1] - len(slots)
    parts: list[Any] = []
    order: list[int] = []
    fixed: dict[Any, Sequence[np.ndarray]] = {}
    if numbers:
        waves, mapped = _waves(model.get_layer("numbers"), fixed)
        plain = inputs[:, :numbers]
        parts += [plain, mapped(keras.ops.cos(waves(plain)))]
        # The fitted one has each number beside its maps.
        order = [place * (MAPPED + 1) for place in range(numbers)]
        order += [one for one in range(numbers * (MAPPED + 1)) if one % (MAPPED + 1)]
    parts += category_inputs(inputs, slots)
    hidden = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    order += range(len(order), hidden.shape[1])

    classes, width = model.get_layer("logits").classes, model.get_layer("dense_0").units
    firsts = [_first(model, member, order) for member in chosen]
    first = keras.layers.Dense(width * len(chosen), name="dense_0")
    fixed[first] = [np.concatenate([one[place] for one in firsts], axis=-1) for place in (0, 1)]
    hidden = _rows(first(hidden), width, len(chosen))
    silu = ParametricSilu(name="silu_0")
    fixed[silu] = model.get_layer("silu_0").get_weights()
    hidden = silu(hidden)
    for layer in range(1, LAYERS):
        dense, silu = keras.layers.Dense(width, name=f"dense_{layer}"), ParametricSilu(name=f"silu_{layer}")
        fixed[dense] = _normalised(model, layer, model.get_layer(f"dense_{layer}").get_weights()[0])
        fixed[silu] = model.get_layer(f"silu_{layer}").get_weights()
        hidden = silu(dense(hidden))
    beside = _rows(hidden, width * len(chosen), len(chosen))
    head = keras.layers.Dense(classes * len(chosen), name="head")
    kernel, bias = (one[chosen] for one in model.get_layer("logits").get_weights())
    fixed[head] = [_blocks(kernel), bias.reshape(-1)]
    logits = keras.layers.Reshape((len(chosen), classes), name="logits")(head(beside))
    whole = keras.Model(inputs, [logits, beside[:, :width]], name="tabular")
    for layer, weights in fixed.items():
        layer.set_weights([np.asarray(one, np.float32) for one in weights])
    for place in range(len(slots)):
        whole.get_layer(f"category_{place}").set_weights(model.get_layer(f"category_{place}").get_weights())
    return whole


def _rows(hidden: Any, width: int, members: int) -> Any:
    return keras.ops.reshape(hidden, (-1, width)) if members > 1 else hidden


def _waves(layer: Any, fixed: dict[Any, Sequence[np.ndarray]]) -> tuple[Any, Any]:
    """Layers from numbers to angles, and from their cosines to the maps."""
    frequencies, phases, mapping, bias = (np.array(one) for one in layer.weights)
    waves, mapped = keras.layers.Dense(frequencies.size, name="waves"), keras.layers.Dense(bias.size, name="mapped")
    fixed[waves] = [_blocks(2 * np.pi * frequencies[:, None, :]), phases.reshape(-1)]
    fixed[mapped] = [_blocks(mapping), bias.reshape(-1)]
    return waves, mapped


def _first(model: keras.Model, member: int, order: list[int]) -> Weights:
    """Kernel and bias of the first layer, as this member sees it."""
    signs = model.get_layer("members").get_weights()[0][member] * model.get_layer("scaling").get_weights()[0]
    kernel = model.get_layer("dense_0").get_weights()[0] * signs[:, None]
    return _normalised(model, 0, kernel[order])


def _normalised(model: keras.Model, layer: int, kernel: np.ndarray) -> Weights:
    """Kernel and bias that do what the layer and the normalisation after it do."""
    norm = model.get_layer(f"norm_{layer}")
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return kernel * scale, beta - mean * scale


def _blocks(parts: np.ndarray) -> np.ndarray:
    """(n, rows, columns) -> (n * rows, n * columns), zero but for the n blocks along the diagonal."""
    count, rows, columns = parts.shape
    whole = np.zeros((count, rows, count, columns))
    whole[np.arange(count), :, np.arange(count)] = parts
    return whole.reshape(count * rows, count * columns)
