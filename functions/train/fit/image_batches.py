"""Augmented batches of pictures: random crops, mirror images, colour changes, and mixtures of two pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

CACHE_GROWTH = 1.6
CROP_AREA = 0.25
CROP_RATIO = (3 / 4, 4 / 3)
COLOUR = 0.3
MIX = 0.5
PREFETCHED = 2  # batches
# Fewer pictures are split into smaller batches, so that an epoch has enough steps.
MIN_FOR_LARGE_BATCHES = 1000
# From this many epochs on, augmentation has its full strength: a short fit can't learn from such hard pictures.
FULL_STRENGTH_EPOCHS = 80
# The early epochs use smaller pictures, at half the cost (Tan & Le 2021, arXiv:2104.00298).
LATE_SHARE, EARLY_SIZE, STRIDES = 0.4, 0.65, 16
# Smaller pictures show too little and are hardly faster.
MIN_SIZE = 32


def cached_size(image_size: int) -> int:
    """Size of the decoded training pictures: larger than the network's input, so that crops keep their detail."""
    return int(image_size * CACHE_GROWTH)


class ImageBatches:
    """Augmented batches of decoded uint8 pictures."""

    max_epochs = 300
    late_share = LATE_SHARE
    strength = 1.0
    late_from = 1
    optimizer, learning_rate, weight_decay, smoothing = "muon", 5e-3, 0.05, 0.1

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, classes: int, seed: int, image_size: int) -> None:
        self.inputs, self.seed, self.image_size = inputs, seed, image_size
        self.targets = np.eye(classes, dtype=np.float32)[labels]
        self.batch_size = min(64 if len(inputs) >= MIN_FOR_LARGE_BATCHES else 32, len(inputs))
        self.steps_per_epoch = len(inputs) // self.batch_size
        self.augment = tf.function(_augment)

    def set_epochs(self, epochs: int) -> None:
        """Adapt the augmentation's strength and the schedule of picture sizes to the number of epochs."""
        self.strength = min(1.0, epochs / FULL_STRENGTH_EPOCHS)
        self.late_from = round((1 - LATE_SHARE) * epochs)

    def side(self, epoch: int) -> int:
        """The size of that epoch's pictures. Reduced sizes are multiples of the network's total stride."""
        if epoch >= self.late_from:
            return self.image_size
        return min(self.image_size, max(MIN_SIZE, STRIDES * round(self.image_size * EARLY_SIZE / STRIDES)))

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]:
        """The batches of an epoch, prepared ahead by threads; tf.data slows down small steps."""
        prefetched: deque[Future[tuple[Any, Any]]] = deque()
        with ThreadPoolExecutor(PREFETCHED) as pool:
            for random_choices in self._random_choices(np.random.default_rng((self.seed, number))):
                prefetched.append(pool.submit(self._batch, self.side(number), *random_choices))
                if len(prefetched) > PREFETCHED:
                    yield prefetched.popleft().result()
            while prefetched:
                yield prefetched.popleft().result()

    def _random_choices(self, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
        """For each batch: picture indices, crops, colour factors, and the windows and shares of the mixtures."""
        order = generator.permutation(len(self.inputs))
        span, max_mix = COLOUR * self.strength, MIX * self.strength
        for step in range(self.steps_per_epoch):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            colours = generator.uniform(1 - span, 1 + span, (3, self.batch_size, 1, 1, 1)).astype(np.float32)
            yield (
                chosen,
                _boxes(generator, self.batch_size, self.strength),
                colours,
                *_mixtures(generator, self.batch_size, max_mix),
            )

    def _batch(self, side: int, chosen: np.ndarray, *random_choices: np.ndarray) -> tuple[Any, Any]:
        arrays = (self.inputs[chosen], self.targets[chosen], *random_choices)
        return self.augment(side, *map(tf.constant, arrays))  # type: ignore[no-any-return]


class FineTuning(ImageBatches):
    """Batches for a pretrained network: weaker augmentation, one size throughout."""

    max_epochs, late_share, strength = 10, 0.0, 0.3
    optimizer, learning_rate, smoothing = "adamw", 3e-4, 0.05

    def set_epochs(self, epochs: int) -> None:
        """Strength and size are the same for any number of epochs."""

    def side(self, epoch: int) -> int:
        return self.image_size


def _augment(
    side: int, pixels: Any, targets: Any, boxes: Any, colours: Any, windows: Any, share: Any
) -> tuple[Any, Any]:
    pixels = tf.image.crop_and_resize(pixels, boxes, tf.range(tf.shape(pixels)[0]), (side, side))
    grey = tf.reduce_mean(pixels, axis=3, keepdims=True)
    pixels = grey + (pixels - grey) * colours[2]
    mean = tf.reduce_mean(pixels, axis=(1, 2, 3), keepdims=True)
    pixels = tf.clip_by_value(((pixels - mean) * colours[1] + mean) * colours[0], 0.0, 255.0)
    centres = (tf.range(side, dtype=tf.float32) + 0.5) / side
    rows, columns = ((centres >= windows[:, axis, None]) & (centres < windows[:, axis + 2, None]) for axis in (0, 1))
    # Each picture is mixed with the one at its index counted from the end of the batch.
    weight = tf.cast(rows[:, :, None, None] & columns[:, None, :, None], tf.float32) * share
    mixed = pixels + weight * (tf.reverse(pixels, axis=[0]) - pixels)
    mean_weight = tf.reduce_mean(weight, axis=(1, 2))
    return mixed, targets + mean_weight * (tf.reverse(targets, axis=[0]) - targets)


def _mixtures(generator: np.random.Generator, count: int, max_mix: float) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, 4) in which another picture is mixed in, and its weight there (n, 1, 1, 1).

    Half of the mixtures blend the whole picture (MixUp, Zhang et al. 2017, arXiv:1710.09412), half paste a rectangle
    of it (CutMix, Yun et al. 2019, arXiv:1905.04899).
    """
    area = generator.uniform(0, max_mix, count)
    pasted = generator.random(count) < 0.5
    side = np.where(pasted, np.sqrt(area), 1)
    top, left = generator.uniform(0, 1, (2, count)) * (1 - side)
    share = np.where(pasted, 1, area).astype(np.float32).reshape(-1, 1, 1, 1)
    return np.stack([top, left, top + side, left + side], axis=1).astype(np.float32), share


def _boxes(generator: np.random.Generator, count: int, strength: float) -> np.ndarray:
    """Random crops (Szegedy et al. 2014, arXiv:1409.4842); swapping left and right mirrors half of them."""
    area = generator.uniform(1 - (1 - CROP_AREA) * strength, 1, count)
    ratio = np.exp(generator.uniform(np.log(CROP_RATIO[0]), np.log(CROP_RATIO[1]), count))
    width, height = np.minimum(1, np.sqrt(area * ratio)), np.minimum(1, np.sqrt(area / ratio))
    left, top = generator.uniform(0, 1, count) * (1 - width), generator.uniform(0, 1, count) * (1 - height)
    flip = generator.random(count) < 0.5
    right = left + width
    left, right = np.where(flip, right, left), np.where(flip, left, right)
    return np.stack([top, left, top + height, right], axis=1).astype(np.float32)
