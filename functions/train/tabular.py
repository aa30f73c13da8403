"""The network for rows: periodic embeddings of numbers, learned embeddings of categories, three layers on top."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FREQUENCIES, FREQUENCY_SCALE, MAPPED = 16, 0.3, 3
CATEGORY_WIDTH = 16
WIDTH, LAYERS, DROPOUT = 384, 3, 0.15


@keras.saving.register_keras_serializable("sabueso")
class PeriodicNumbers(keras.layers.Layer):
    """(n, numbers) -> (n, numbers * 4): each number with 3 mappings of cos(2 pi f x + b), and itself.

    PBLD embeddings of RealMLP (Holzmueller et al. 2024, arXiv:2407.04491, 2.2); frequencies are learned.
    """

    def build(self, shape: tuple[int | None, int]) -> None:
        numbers = shape[1]
        normal = keras.initializers.RandomNormal(stddev=FREQUENCY_SCALE)
        turn = keras.initializers.RandomUniform(-np.pi, np.pi)
        self.frequencies = self.add_weight(shape=(numbers, FREQUENCIES), initializer=normal, name="frequencies")
        self.phases = self.add_weight(shape=(numbers, FREQUENCIES), initializer=turn, name="phases")
        self.mapping = self.add_weight(shape=(numbers, FREQUENCIES, MAPPED), initializer="glorot_uniform", name="mapping")
        self.bias = self.add_weight(shape=(numbers, MAPPED), initializer="zeros", name="bias")

    def call(self, numbers: Any) -> Any:
        angles = 2 * np.pi * keras.ops.expand_dims(numbers, -1) * self.frequencies + self.phases
        waves = keras.ops.cos(angles)
        # Broadcast and sum instead of an einsum: the exported network then has plain operations alone.
        mapped = keras.ops.sum(keras.ops.expand_dims(waves, -1) * self.mapping, axis=2) + self.bias
        both = keras.ops.concatenate([keras.ops.expand_dims(numbers, -1), mapped], axis=-1)
        return keras.ops.reshape(both, (-1, numbers.shape[1] * (MAPPED + 1)))


def build_tabular(numbers: int, slots: list[int], classes: int) -> keras.Model:
    """Float32 (n, numbers + categories), categories as slot indices -> logits (n, classes) and embedding (n, 384)."""
    inputs = keras.Input((numbers + len(slots),), name="rows")
    parts = []
    if numbers:
        parts.append(PeriodicNumbers(name="numbers")(inputs[:, :numbers]))
    for place, count in enumerate(slots):
        index = keras.ops.cast(inputs[:, numbers + place], "int32")
        width = min(CATEGORY_WIDTH, count)
        parts.append(keras.layers.Embedding(count, width, name=f"category_{place}")(index))
    hidden = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for layer in range(LAYERS):
        hidden = keras.layers.Dense(WIDTH, use_bias=False, name=f"dense_{layer}")(hidden)
        hidden = keras.layers.BatchNormalization(name=f"norm_{layer}")(hidden)
        hidden = keras.layers.Activation("silu")(hidden)
        embedding = hidden
        hidden = keras.layers.Dropout(DROPOUT)(hidden)
    logits = keras.layers.Dense(classes, name="logits")(hidden)
    return keras.Model(inputs, [logits, embedding], name="tabular")


class TabularBatches:
    """Shuffled batches of encoded rows, drop-last so that every step has the same shape."""

    batch_size = 256
    epochs = 100
    learning_rate, weight_decay, smoothing = 3e-3, 0.02, 0.05

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> None:
        self.inputs, self.labels, self.seed = inputs, labels, seed
        self.targets = np.eye(classes, dtype=np.float32)[labels]
        self.size = min(self.batch_size, len(inputs))
        self.steps = len(inputs) // self.size

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng((self.seed, number)).permutation(len(self.inputs))
        for step in range(self.steps):
            chosen = order[step * self.size : (step + 1) * self.size]
            yield tf.constant(self.inputs[chosen]), tf.constant(self.targets[chosen])
