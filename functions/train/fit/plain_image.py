"""The fitted network for pictures as what answers computes it: with little more than half of the multiplications.

A filter and its mirror image look at the same places. Their sum is an even filter of the sum of the channels' halves
and an odd one of their difference; what sets them apart, the other way round (the Fourier transform of a group of two:
Cohen & Welling 2016, arXiv:1602.07576). An even filter needs the sum of the neighbours on the left and on the right
alone, an odd one their difference. Normalisation goes into the filters. What comes out is the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from train.fit.image import WIDTHS, answers_of, shortcut_input

# The first and the second half of the channels; or their sum and their difference; or half of what filters and their
# mirror images find together, and half of what sets them apart.
Pair = Sequence[Any]


def plain_image(model: keras.Model, side: int) -> keras.Model:
    """What a network of `build_image` computes, for pictures of one side: outputs and names as there."""
    pixels = keras.Input((side, side, 3), name="pixels")
    stem = keras.ops.relu(_whole(model, "stem", keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)))
    halves = _split(stem)
    for block in range(1, len(WIDTHS)):
        name, sums = f"block_{block}", _sums(halves)
        if block == 1:  # of so few channels that sums and differences would cost what they spare
            inner = _split(keras.ops.relu(_whole(model, f"{name}_first", stem)))
        else:
            inner = _channels(_found(model, f"{name}_first", sums))
        shortcut = _found(model, f"{name}_shortcut", [shortcut_input(one) for one in sums])
        found = _found(model, f"{name}_second", _sums(inner))
        halves = _channels([one + short for one, short in zip(found, shortcut, strict=True)])
    head = model.get_layer("head")
    plain = answers_of(pixels, halves, head.units)
    plain.get_layer("head").set_weights(head.get_weights())
    return plain


def _split(hidden: Any) -> Pair:
    return list(keras.ops.split(hidden, 2, axis=-1))


def _sums(halves: Pair) -> Pair:
    return [halves[0] + halves[1], halves[0] - halves[1]]


def _channels(found: Pair) -> Pair:
    """From what a layer found to both halves of its channels."""
    return [keras.ops.relu(found[0] + found[1]), keras.ops.relu(found[0] - found[1])]


def _whole(model: keras.Model, name: str, hidden: Any) -> Any:
    """What a layer finds, as it was learned, with its normalisation."""
    layer = model.get_layer(name)
    kernel, shift = _normalised(model, name)
    return _convolution(hidden, np.asarray(layer.both(kernel)), np.tile(shift, 2), layer.strides[0])


def _found(model: keras.Model, name: str, sums: Pair) -> Pair:
    """What a layer finds, with its normalisation: half of the sum, and of the difference, of its two halves."""
    kernel, shift = _normalised(model, name)
    first, second = np.split(kernel / 2, 2, axis=2)
    kernels, seen = [first + second, first - second], sums
    if kernel.shape[1] > 1:
        kernels = [_columns(one, other) for one, other in (kernels, kernels[::-1])]
        seen = [
            keras.ops.concatenate([_neighbours(one, 1.0), one, _neighbours(other, -1.0)], axis=-1)
            for one, other in (sums, sums[::-1])
        ]
    stride = model.get_layer(name).strides[0]
    if stride == 2 and seen[0].shape[2] % 2 == 0:  # where a filter of three columns begins with the first one
        seen = [one[:, :, 1:] for one in seen]
    return [_convolution(seen[0], kernels[0], shift, stride), _convolution(seen[1], kernels[1], None, stride)]


def _columns(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Kernels (3, 3, channels, half) -> (3, 1, 3 channels, half), which takes what `_found` puts side by side.

    Of the one the even part, of the other the odd one.
    """
    left, middle, right = (even[:, place] for place in range(3))
    return np.concatenate([(left + right) / 2, middle, (odd[:, 2] - odd[:, 0]) / 2], axis=1)[:, None]


def _neighbours(hidden: Any, sign: float) -> Any:
    """To each place what is on its right, and what is on its left times the sign; beyond the edge is nothing."""
    layer = keras.layers.DepthwiseConv2D((1, 3), padding="same", use_bias=False)
    found = layer(hidden)
    layer.set_weights([np.tile(np.array([sign, 0, 1], np.float32)[None, :, None, None], (1, 1, hidden.shape[-1], 1))])
    return found


def _normalised(model: keras.Model, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The kernel as it is learned, and the shift, that do what the layer and the normalisation after it do."""
    norm = model.get_layer(f"{name}_norm")
    scale = np.array(norm.gamma) / np.sqrt(np.array(norm.moving_variance) + norm.epsilon)
    return np.array(model.get_layer(name).kernel) * scale, np.array(norm.beta) - np.array(norm.moving_mean) * scale


def _convolution(hidden: Any, kernel: np.ndarray, bias: np.ndarray | None, stride: int) -> Any:
    *sides, _, filters = kernel.shape
    layer = keras.layers.Conv2D(filters, sides, stride, padding="same", use_bias=bias is not None)
    found = layer(hidden)
    layer.set_weights([np.asarray(one, np.float32) for one in (kernel, bias) if one is not None])
    return found
