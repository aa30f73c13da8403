"""The network for rows: embeddings of numbers and categories, and members that share nearly all weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FREQUENCIES, FREQUENCY_SCALE, MAPPED = 16, 0.3, 3
CATEGORY_WIDTH = 16
# Keras has 0.99: averages over 100 steps, which is many epochs of few rows.
NORM_MOMENTUM = 0.9
LAYERS, DROPOUT = 3, 0.15
# With many rows wide layers learn what narrow ones can't hold.
WIDTH, WIDE, WIDE_ROWS = 256, 384, 5_000
# Members take away variance, of which few rows leave most; with many rows the time buys more as width and epochs.
FEWEST_MEMBERS, MOST_MEMBERS, MEMBER_ROWS = 4, 24, 80_000
# Few rows make short epochs: more of them, so that the network takes its steps.
BATCHES, EPOCHS, MOST_EPOCHS, LEAST_STEPS = 64, 120, 300, 3000


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
        self.mapping = self.add_weight(
            shape=(numbers, FREQUENCIES, MAPPED), initializer="glorot_uniform", name="mapping"
        )
        self.bias = self.add_weight(shape=(numbers, MAPPED), initializer="zeros", name="bias")

    def call(self, numbers: Any) -> Any:
        angles = 2 * np.pi * keras.ops.expand_dims(numbers, -1) * self.frequencies + self.phases
        waves = keras.ops.cos(angles)
        # Broadcast and sum instead of an einsum: the exported network then has plain operations alone.
        mapped = keras.ops.sum(keras.ops.expand_dims(waves, -1) * self.mapping, axis=2) + self.bias
        both = keras.ops.concatenate([keras.ops.expand_dims(numbers, -1), mapped], axis=-1)
        return keras.ops.reshape(both, (-1, numbers.shape[1] * (MAPPED + 1)))


@keras.saving.register_keras_serializable("sabueso")
class Members(keras.layers.Layer):
    """(n, d) -> (n, members, d): each member sees the input with signs of its own, which it learns further.

    The mini ensemble of TabM (Gorishniy et al. 2024, arXiv:2410.24210, 3.3), with random signs as BatchEnsemble has.
    """

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.count = count

    def build(self, shape: tuple[int | None, int]) -> None:
        signs = keras.initializers.RandomUniform(-1, 1)
        self.scales = self.add_weight(
            shape=(self.count, shape[1]),
            initializer=lambda *given, **more: keras.ops.sign(signs(*given, **more)),
            name="scales",
        )

    def call(self, inputs: Any) -> Any:
        return keras.ops.expand_dims(inputs, 1) * self.scales


@keras.saving.register_keras_serializable("sabueso")
class Scaling(keras.layers.Layer):
    """(n, d) -> (n, d): each feature times a learned factor, a soft selection (RealMLP, arXiv:2407.04491, 2.2)."""

    def build(self, shape: tuple[int | None, int]) -> None:
        self.scales = self.add_weight(shape=(shape[-1],), initializer="ones", name="scales")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scales


@keras.saving.register_keras_serializable("sabueso")
class ParametricSilu(keras.layers.Layer):
    """x + a (silu(x) - x), a learned for each feature: from a straight line to beyond SiLU (RealMLP, 2.2)."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.scales = self.add_weight(shape=(shape[-1],), initializer="ones", name="scales")

    def call(self, inputs: Any) -> Any:
        return inputs * ((1 - self.scales) + self.scales * keras.ops.sigmoid(inputs))


@keras.saving.register_keras_serializable("sabueso")
class MemberLogits(keras.layers.Layer):
    """(n, members, d) -> (n, members, classes): a last layer for each member."""

    def __init__(self, classes: int, **options: Any) -> None:
        super().__init__(**options)
        self.classes = classes

    def build(self, shape: tuple[int | None, int, int]) -> None:
        bound = float(shape[2]) ** -0.5
        uniform = keras.initializers.RandomUniform(-bound, bound)
        self.kernel = self.add_weight(shape=(shape[1], shape[2], self.classes), initializer=uniform, name="kernel")
        self.bias = self.add_weight(shape=(shape[1], self.classes), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        by_member = keras.ops.transpose(inputs, (1, 0, 2))
        return keras.ops.transpose(keras.ops.matmul(by_member, self.kernel), (1, 0, 2)) + self.bias


def members_for(rows: int) -> int:
    """How many members a train part of that many rows gets."""
    return max(FEWEST_MEMBERS, min(MOST_MEMBERS, MEMBER_ROWS // max(1, rows)))


def batch_size_for(rows: int) -> int:
    """The power of two at or below a 64th of the rows, from 16 to 256, and no more than there are."""
    return min(rows, max(16, min(256, 1 << (max(1, rows // BATCHES).bit_length() - 1))))


def width_for(rows: int) -> int:
    """The width of the layers for a train part of that many rows."""
    return WIDE if rows >= WIDE_ROWS else WIDTH


def category_inputs(inputs: Any, slots: list[int]) -> list[Any]:
    """(n, numbers + categories) -> an embedding (n, d) of each category."""
    numbers = inputs.shape[1] - len(slots)
    found = []
    for place, count in enumerate(slots, start=numbers):
        index = keras.ops.cast(inputs[:, place], "int32")
        found.append(
            keras.layers.Embedding(count, min(CATEGORY_WIDTH, count), name=f"category_{place - numbers}")(index)
        )
    return found


def build_tabular(numbers: int, slots: list[int], classes: int, members: int, width: int = WIDTH) -> keras.Model:
    """Float32 (n, numbers + categories), categories as slot indices -> logits (n, members, classes), embedding."""
    inputs = keras.Input((numbers + len(slots),), name="rows")
    parts = []
    if numbers:
        parts.append(PeriodicNumbers(name="numbers")(inputs[:, :numbers]))
    parts += category_inputs(inputs, slots)
    hidden = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    hidden = Members(members, name="members")(Scaling(name="scaling")(hidden))
    embedding = hidden
    for layer in range(LAYERS):
        hidden = keras.layers.Dense(width, use_bias=False, name=f"dense_{layer}")(hidden)
        hidden = keras.layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"norm_{layer}")(hidden)
        embedding = ParametricSilu(name=f"silu_{layer}")(hidden)
        hidden = keras.layers.Dropout(DROPOUT)(embedding)
    return keras.Model(inputs, [MemberLogits(classes, name="logits")(hidden), embedding[:, 0]], name="tabular")


class TabularBatches:
    """Shuffled batches of encoded rows, drop-last so that every step has the same shape."""

    late_share = 0.0
    optimizer, learning_rate, weight_decay, smoothing = "muon", 8e-3, 0.02, 0.05

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> None:
        self.inputs, self.labels, self.seed = inputs, labels, seed
        self.targets = np.eye(classes, dtype=np.float32)[labels]
        self.size = batch_size_for(len(inputs))
        self.steps = len(inputs) // self.size
        self.epochs = max(EPOCHS, min(MOST_EPOCHS, LEAST_STEPS // self.steps))

    def planned(self, epochs: int) -> None:
        """Nothing here depends on the plan."""

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng((self.seed, number)).permutation(len(self.inputs))
        for step in range(self.steps):
            chosen = order[step * self.size : (step + 1) * self.size]
            yield tf.constant(self.inputs[chosen]), tf.constant(self.targets[chosen])
