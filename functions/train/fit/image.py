"""The network for pictures: a small residual network, and the augmentation that makes few pictures go far."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

WIDTHS = (24, 48, 96, 144)
DROPOUT = 0.2
NORM_MOMENTUM = 0.9
CACHE_GROWTH = 1.6
CROP_AREA = 0.25
# The share of a picture's sides that is looked at to answer: things are then about as large as in the crops.
CENTRE = 7 / 8
CROP_RATIO = (3 / 4, 4 / 3)
COLOUR = 0.3
MIX = 0.5
AHEAD = 2  # batches
# Of fewer pictures smaller batches are made: an epoch needs its steps.
FEW = 1000
# Epochs from which the augmentation is at its full strength: a short fit can't learn from pictures that hard.
FULL_STRENGTH = 80
# The first epochs see smaller pictures, at half the cost (Tan & Le 2021, arXiv:2104.00298).
LATE_SHARE, EARLY_SIZE, STRIDES = 0.4, 0.65, 16
# Smaller ones keep too little to see, and cost hardly less.
LEAST_SIZE = 33


def cached_size(image_size: int) -> int:
    """Side of the pictures kept for training: larger than the network's, so that crops keep their detail."""
    return int(image_size * CACHE_GROWTH)


def precision() -> str:
    """The numbers that a fit computes with: bfloat16 where the processor multiplies them, at nearly half the time."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        flags = set()
    return "mixed_bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"


class MirrorConv(keras.layers.Conv2D):
    """A convolution whose second half of filters mirrors the first (Cohen & Welling 2016, arXiv:1602.07576).

    Of its outputs the halves change places when the picture is mirrored, each mirrored itself; of its inputs too,
    unless `lifting`, which takes plain pictures. Only the first half is learned: kernel (side, side, channels, half).
    """

    def __init__(self, filters: int, side: int, lifting: bool = False, **options: Any) -> None:
        super().__init__(filters // 2, side, padding="same", use_bias=False, **options)
        self.lifting = lifting

    def both(self, kernel: Any) -> Any:
        """The filters and their mirror images: (side, side, channels, 2 x half)."""
        first, second = (kernel, None) if self.lifting else keras.ops.split(kernel, 2, axis=2)
        swapped = kernel if self.lifting else keras.ops.concatenate([second, first], axis=2)
        return keras.ops.concatenate([kernel, keras.ops.flip(swapped, axis=1)], axis=3)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return super().convolution_op(inputs, self.both(kernel))

    def compute_output_shape(self, input_shape: Any) -> Any:
        *rest, half = super().compute_output_shape(input_shape)
        return (*rest, 2 * half)


class Norm(keras.layers.BatchNormalization):
    """Batch normalisation of both halves of the channels alike, as one operation while it learns.

    Keras has it in pieces, a fifth slower on a processor. Its averages stay float32 (no autocast), and go back over ten
    steps: Keras's 0.99 is many epochs of few pictures.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(momentum=NORM_MOMENTUM, autocast=False, **options)

    def build(self, input_shape: Any) -> None:
        super().build((*input_shape[:-1], input_shape[-1] // 2))
        self.input_spec = None

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            scale = self.gamma * keras.ops.rsqrt(self.moving_variance + self.epsilon)
            shift = self.beta - self.moving_mean * scale
            both = [keras.ops.cast(keras.ops.tile(one, 2), inputs.dtype) for one in (scale, shift)]
            return inputs * both[0] + both[1]
        shape = tf.shape(inputs)
        beside = tf.reshape(inputs, (shape[0], shape[1], -1, self.gamma.shape[0]))
        unused = tf.zeros_like(self.gamma)
        found, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=beside, scale=self.gamma, offset=self.beta, mean=unused, variance=unused, epsilon=self.epsilon
        )
        for average, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + now * (1 - self.momentum))
        return tf.ensure_shape(tf.reshape(found, shape), inputs.shape)


def _conv(hidden: Any, width: int, name: str, dtype: str, side: int = 3, stride: int = 1, lifting: bool = False) -> Any:
    found = MirrorConv(width, side, lifting, strides=stride, dtype=dtype, name=name)(hidden)
    return Norm(dtype=dtype, name=f"{name}_norm")(found)


def shortcut_input(hidden: Any, dtype: str = "float32") -> Any:
    """Half the places, each the mean of those around it."""
    return keras.layers.AveragePooling2D(3, 2, padding="same", dtype=dtype)(hidden)


def _block(hidden: Any, width: int, name: str, dtype: str) -> Any:
    """Two convolutions and a shortcut (He et al. 2015, arXiv:1512.03385), at half the places."""
    shortcut = _conv(shortcut_input(hidden, dtype), width, f"{name}_shortcut", dtype, side=1)
    hidden = keras.layers.ReLU(dtype=dtype)(_conv(hidden, width, f"{name}_first", dtype, stride=2))
    hidden = _conv(hidden, width, f"{name}_second", dtype)
    return keras.layers.ReLU(dtype=dtype)(keras.layers.Add(dtype=dtype)([hidden, shortcut]))


def build_image(classes: int, dtype: str = "float32") -> keras.Model:
    """Pixels 0..255 float32 (n, side, side, 3), any side -> logits (n, 1, classes) and embedding (n, 72), float32.

    A picture and its mirror image get the same answer where the side is 16 k + 1: strides of 2 keep to its middle.
    """
    pixels = keras.Input((None, None, 3), name="pixels")
    hidden = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    hidden = keras.layers.ReLU(dtype=dtype)(_conv(hidden, WIDTHS[0], "stem", dtype, stride=2, lifting=True))
    for block, width in enumerate(WIDTHS[1:], start=1):
        hidden = _block(hidden, width, f"block_{block}", dtype)
    return answers_of(pixels, keras.ops.split(keras.ops.cast(hidden, "float32"), 2, axis=-1), classes)


def answers_of(pixels: Any, halves: Sequence[Any], classes: int) -> keras.Model:
    """The network from its input and both halves of its last channels: they count alike."""
    parts = keras.layers.Average(dtype="float32", name="parts")(halves)
    embedding = keras.layers.GlobalAveragePooling2D(dtype="float32", name="embedding")(parts)
    logits = keras.layers.Dense(classes, name="head")(keras.layers.Dropout(DROPOUT)(embedding))
    return keras.Model(pixels, [keras.ops.expand_dims(logits, 1), embedding], name="image")


def with_heat(model: keras.Model, image_size: int, mirrored: bool) -> keras.Model:
    """What answers, for pictures of one size. `mirrored`: with the picture's mirror image as a second member.

    A third output is `heat` (n, rows, columns, classes): what each part of the picture adds to each logit, since the
    embedding is the mean over them (class activation maps, Zhou et al. 2016, arXiv:1512.04150).
    """
    seen = keras.Model(model.inputs, [*model.outputs, model.get_layer("embedding").input])
    kernel = model.get_layer("head").get_weights()[0]
    heat = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="heat")
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    logits, embedding, parts = seen(pixels)
    if mirrored:
        others = seen(keras.ops.flip(pixels, axis=2))
        logits, embedding = keras.ops.concatenate([logits, others[0]], axis=1), (embedding + others[1]) / 2
        parts = (parts + keras.ops.flip(others[2], axis=2)) / 2
    found = heat(parts)
    heat.set_weights([kernel[None, None]])
    return keras.Model(pixels, [logits, embedding, found], name="image_with_heat")


class ImageBatches:
    """Augmented batches: random crop, flip, colours, mixtures. Pictures are held decoded, as uint8."""

    epochs = 300
    late_share = LATE_SHARE
    strength = 1.0
    late_from = 1
    optimizer, learning_rate, weight_decay, smoothing = "muon", 3e-3, 0.05, 0.1

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, classes: int, seed: int, image_size: int) -> None:
        self.inputs, self.seed, self.image_size = inputs, seed, image_size
        self.targets = np.eye(classes, dtype=np.float32)[labels]
        self.size = min(64 if len(inputs) >= FEW else 32, len(inputs))
        self.steps = len(inputs) // self.size
        self._augment = tf.function(_augment)

    def planned(self, epochs: int) -> None:
        """Told the plan: the augmentation's strength and the pictures' size follow the number of epochs."""
        self.strength = min(1.0, epochs / FULL_STRENGTH)
        self.late_from = round((1 - LATE_SHARE) * epochs)

    def side(self, epoch: int) -> int:
        """Of the pictures of that epoch; while they are smaller a multiple of what the strides divide it by."""
        if epoch >= self.late_from:
            return self.image_size
        return min(self.image_size, max(LEAST_SIZE, STRIDES * round(self.image_size * EARLY_SIZE / STRIDES) + 1))

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]:
        """Made beside the steps, ahead of them: by threads of its own, since tf.data takes many small steps' time."""
        waiting: deque[Future[tuple[Any, Any]]] = deque()
        with ThreadPoolExecutor(AHEAD) as pool:
            for drawn in self._drawn(np.random.default_rng((self.seed, number))):
                waiting.append(pool.submit(self._batch, self.side(number), *drawn))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _drawn(self, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
        """Of each batch: the pictures' numbers, crops, colours, and which part of another picture comes in."""
        order, span, half = generator.permutation(len(self.inputs)), COLOUR * self.strength, MIX * self.strength
        for step in range(self.steps):
            chosen = order[step * self.size : (step + 1) * self.size]
            colours = generator.uniform(1 - span, 1 + span, (3, self.size, 1, 1, 1)).astype(np.float32)
            yield chosen, _boxes(generator, self.size, self.strength), colours, *_parts(generator, self.size, half)

    def _batch(self, side: int, chosen: np.ndarray, *drawn: np.ndarray) -> tuple[Any, Any]:
        given = (self.inputs[chosen], self.targets[chosen], *drawn)
        return self._augment(side, *map(tf.constant, given))  # type: ignore[no-any-return]


def _augment(
    side: int, pixels: Any, targets: Any, boxes: Any, colours: Any, windows: Any, share: Any
) -> tuple[Any, Any]:
    pixels = tf.image.crop_and_resize(pixels, boxes, tf.range(tf.shape(pixels)[0]), (side, side))
    grey = tf.reduce_mean(pixels, axis=3, keepdims=True)
    pixels = grey + (pixels - grey) * colours[2]
    mean = tf.reduce_mean(pixels, axis=(1, 2, 3), keepdims=True)
    pixels = tf.clip_by_value(((pixels - mean) * colours[1] + mean) * colours[0], 0.0, 255.0)
    at = (tf.range(side, dtype=tf.float32) + 0.5) / side
    down, along = ((at >= windows[:, place, None]) & (at < windows[:, place + 2, None]) for place in (0, 1))
    other = tf.cast(down[:, :, None, None] & along[:, None, :, None], tf.float32) * share
    mixed = pixels + other * (tf.reverse(pixels, axis=[0]) - pixels)
    flat = tf.reduce_mean(other, axis=(1, 2))
    return mixed, targets + flat * (tf.reverse(targets, axis=[0]) - targets)


def _parts(generator: np.random.Generator, count: int, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, 4) that another picture comes into, and its share there (n, 1, 1, 1).

    Half of them see all of it, faintly (Zhang et al. 2017, arXiv:1710.09412), half a part of it as it is
    (Yun et al. 2019, arXiv:1905.04899).
    """
    area = generator.uniform(0, most, count)
    cut = generator.random(count) < 0.5
    side = np.where(cut, np.sqrt(area), 1)
    top, left = generator.uniform(0, 1, (2, count)) * (1 - side)
    share = np.where(cut, 1, area).astype(np.float32).reshape(-1, 1, 1, 1)
    return np.stack([top, left, top + side, left + side], axis=1).astype(np.float32), share


def _boxes(generator: np.random.Generator, count: int, strength: float) -> np.ndarray:
    """Random crops (Szegedy et al. 2014, arXiv:1409.4842), half of them mirrored by swapping left and right."""
    area = generator.uniform(1 - (1 - CROP_AREA) * strength, 1, count)
    ratio = np.exp(generator.uniform(np.log(CROP_RATIO[0]), np.log(CROP_RATIO[1]), count))
    width, height = np.minimum(1, np.sqrt(area * ratio)), np.minimum(1, np.sqrt(area / ratio))
    left, top = generator.uniform(0, 1, count) * (1 - width), generator.uniform(0, 1, count) * (1 - height)
    flip = generator.random(count) < 0.5
    right = left + width
    left, right = np.where(flip, right, left), np.where(flip, left, right)
    return np.stack([top, left, top + height, right], axis=1).astype(np.float32)
