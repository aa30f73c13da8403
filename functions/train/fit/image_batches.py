"""Augmented batches of pictures: random crops, mirror images, colours, and mixtures of two."""

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
AHEAD = 2  # batches
# Of fewer pictures smaller batches are made: an epoch needs its steps.
FEW = 1000
# Epochs from which the augmentation is at its full strength: a short fit can't learn from pictures that hard.
FULL_STRENGTH = 80
# The first epochs see smaller pictures, at half the cost (Tan & Le 2021, arXiv:2104.00298).
LATE_SHARE, EARLY_SIZE, STRIDES = 0.4, 0.65, 16
# Smaller ones keep too little to see, and cost hardly less.
LEAST_SIZE = 32


def cached_size(image_size: int) -> int:
    """Side of the pictures kept for training: larger than the network's, so that crops keep their detail."""
    return int(image_size * CACHE_GROWTH)


class ImageBatches:
    """Augmented batches: random crop, flip, colours, mixtures. Pictures are held decoded, as uint8."""

    epochs = 300
    late_share = LATE_SHARE
    strength = 1.0
    late_from = 1
    optimizer, learning_rate, weight_decay, smoothing = "muon", 5e-3, 0.05, 0.1

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
        return min(self.image_size, max(LEAST_SIZE, STRIDES * round(self.image_size * EARLY_SIZE / STRIDES)))

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


class FineTuning(ImageBatches):
    """For a network that knows pictures already: gentler, and of one size throughout."""

    epochs, late_share, strength = 10, 0.0, 0.3
    optimizer, learning_rate, smoothing = "adamw", 3e-4, 0.05

    def planned(self, epochs: int) -> None:
        """Nothing here depends on the plan."""

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
