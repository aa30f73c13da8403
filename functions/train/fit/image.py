"""The network for pictures: a small residual network, and the augmentation that makes few pictures go far."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

WIDTHS = (32, 64, 128, 192)
DROPOUT = 0.2
NORM_MOMENTUM = 0.9
CACHE_GROWTH = 4 / 3
CROP_AREA = 0.25
CROP_RATIO = (3 / 4, 4 / 3)
COLOUR = 0.3
MIX = 0.3
AHEAD = 2  # batches
# Of fewer pictures smaller batches are made: an epoch needs its steps.
FEW = 1000
# Epochs from which the augmentation is at its full strength: a short fit can't learn from pictures that hard.
FULL_STRENGTH = 80
# The first epochs see smaller pictures, at less than half the cost (Tan & Le 2021, arXiv:2104.00298). The last ones too
# are smaller than those that will be answered: crops show things larger than they are (Touvron 2019, arXiv:1906.06423).
LATE_SHARE, EARLY_SIZE, LATE_SIZE, EVEN = 0.4, 7 / 12, 5 / 6, 8
# Smaller ones keep too little to see, and cost hardly less.
LEAST_SIZE = 32


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


class Norm(keras.layers.BatchNormalization):
    """Batch normalisation as one operation while it learns: Keras has it in pieces, a fifth slower on a processor.

    Its averages stay float32 (no autocast), and go back over ten steps: Keras's 0.99 is many epochs of few pictures.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(momentum=NORM_MOMENTUM, autocast=False, **options)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return super().call(inputs, training=False)
        unused = tf.zeros_like(self.gamma)
        found, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=self.gamma, offset=self.beta, mean=unused, variance=unused, epsilon=self.epsilon
        )
        for average, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + now * (1 - self.momentum))
        return found


def _conv(hidden: Any, width: int, dtype: str, side: int = 3, stride: int = 1) -> Any:
    hidden = keras.layers.Conv2D(width, side, strides=stride, padding="same", use_bias=False, dtype=dtype)(hidden)
    return Norm(dtype=dtype)(hidden)


def _block(hidden: Any, width: int, stride: int, dtype: str) -> Any:
    """Two convolutions and a shortcut (He et al. 2015, arXiv:1512.03385)."""
    shortcut = hidden
    if stride > 1 or hidden.shape[-1] != width:
        shortcut = keras.layers.AveragePooling2D(stride, padding="same", dtype=dtype)(hidden) if stride > 1 else hidden
        shortcut = _conv(shortcut, width, dtype, side=1)
    hidden = keras.layers.ReLU(dtype=dtype)(_conv(hidden, width, dtype, stride=stride))
    return keras.layers.ReLU(dtype=dtype)(keras.layers.Add(dtype=dtype)([_conv(hidden, width, dtype), shortcut]))


def build_image(classes: int, dtype: str = "float32") -> keras.Model:
    """Pixels 0..255 float32 (n, side, side, 3), any side -> logits (n, 1, classes) and embedding (n, 192), float32."""
    inputs = keras.Input((None, None, 3), name="pixels")
    hidden = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    hidden = keras.layers.ReLU(dtype=dtype)(_conv(hidden, WIDTHS[0], dtype, stride=2))
    for width in WIDTHS[1:]:
        hidden = _block(hidden, width, 2, dtype)
    embedding = keras.layers.GlobalAveragePooling2D(dtype="float32", name="embedding")(hidden)
    logits = keras.layers.Dense(classes, name="head")(keras.layers.Dropout(DROPOUT)(embedding))
    logits = keras.layers.Reshape((1, classes), name="logits")(logits)
    return keras.Model(inputs, [logits, embedding], name="image")


def with_mirror(model: keras.Model, image_size: int) -> keras.Model:
    """What answers: the picture and its mirror image as two members. It pays about a point of accuracy.

    A third output is `heat` (n, rows, columns, classes): what each part of the picture adds to each logit, since the
    embedding is the mean over them (class activation maps, Zhou et al. 2016, arXiv:1512.04150).
    """
    seen = keras.Model(model.inputs, [*model.outputs, model.get_layer("embedding").input])
    kernel = model.get_layer("head").get_weights()[0]
    heat = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="heat")
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    plain, mirrored = seen(pixels), seen(keras.ops.flip(pixels, axis=2))
    logits = keras.ops.concatenate([plain[0], mirrored[0]], axis=1)
    parts = heat((plain[2] + keras.ops.flip(mirrored[2], axis=2)) / 2)
    heat.set_weights([kernel[None, None]])
    return keras.Model(pixels, [logits, (plain[1] + mirrored[1]) / 2, parts], name="image_with_mirror")


class ImageBatches:
    """Augmented batches: random crop, flip, brightness, contrast, mix-up. Pictures are held decoded, as uint8."""

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
        """Of the pictures of that epoch; a multiple of what the strides divide it by, as far as they can."""
        wanted = self.image_size * (LATE_SIZE if epoch >= self.late_from else EARLY_SIZE)
        return min(self.image_size, max(LEAST_SIZE, EVEN * round(wanted / EVEN)))

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
        """Of each batch: the pictures' numbers, crops, brightness, contrast, and each one's share of the mixture."""
        order, span = generator.permutation(len(self.inputs)), COLOUR * self.strength
        for step in range(self.steps):
            chosen = order[step * self.size : (step + 1) * self.size]
            colour = generator.uniform(1 - span, 1 + span, (2, self.size, 1, 1, 1)).astype(np.float32)
            share = generator.uniform(1 - MIX * self.strength, 1, (self.size, 1, 1, 1)).astype(np.float32)
            yield chosen, _boxes(generator, self.size, self.strength), colour[0], colour[1], share

    def _batch(self, side: int, chosen: np.ndarray, *drawn: np.ndarray) -> tuple[Any, Any]:
        given = (self.inputs[chosen], self.targets[chosen], *drawn)
        return self._augment(side, *map(tf.constant, given))  # type: ignore[no-any-return]


def _augment(
    side: int, pixels: Any, targets: Any, boxes: Any, brightness: Any, contrast: Any, share: Any
) -> tuple[Any, Any]:
    pixels = tf.image.crop_and_resize(pixels, boxes, tf.range(tf.shape(pixels)[0]), (side, side))
    mean = tf.reduce_mean(pixels, axis=(1, 2, 3), keepdims=True)
    pixels = tf.clip_by_value(((pixels - mean) * contrast + mean) * brightness, 0.0, 255.0)
    flat = tf.reshape(share, (-1, 1))
    mixed = share * pixels + (1 - share) * tf.reverse(pixels, axis=[0])
    return mixed, flat * targets + (1 - flat) * tf.reverse(targets, axis=[0])


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
