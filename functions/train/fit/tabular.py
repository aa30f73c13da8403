"""The network for rows: embeddings of numbers and categories, and ensemble members that share almost all weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FREQUENCIES, FREQUENCY_SCALE, MAPPINGS = 16, 0.3, 3
CATEGORY_WIDTH = 16
# Keras's default of 0.99 averages over 100 steps, which is many epochs of a small dataset.
NORM_MOMENTUM = 0.9
LAYERS, DROPOUT = 3, 0.15
# From WIDE_ROWS rows on, wider layers predict better.
WIDTH, WIDE, WIDE_ROWS = 256, 384, 5_000
# Members reduce variance, which is largest with few rows. With many rows, width and epochs use the time better.
MIN_MEMBERS, MAX_MEMBERS, MEMBER_ROWS = 4, 24, 80_000
# With few rows an epoch has few steps, so more epochs are needed to reach MIN_STEPS.
BATCHES_PER_EPOCH, EPOCHS, MAX_EPOCHS, MIN_STEPS = 64, 120, 300, 3000


@keras.saving.register_keras_serializable("sabueso")
class PeriodicNumbers(keras.layers.Layer):
    """(n, numbers) -> (n, numbers * 4): each number itself, and 3 linear mappings of cos(2 pi f x + b).

    PBLD embeddings of RealMLP (Holzmueller et al. 2024, arXiv:2407.04491, 2.2) with learned frequencies.
    """

    def build(self, shape: tuple[int | None, int]) -> None:
        numbers = shape[1]
        normal = keras.initializers.RandomNormal(stddev=FREQUENCY_SCALE)
        uniform_phase = keras.initializers.RandomUniform(-np.pi, np.pi)
        self.frequencies = self.add_weight(shape=(numbers, FREQUENCIES), initializer=normal, name="frequencies")
        self.phases = self.add_weight(shape=(numbers, FREQUENCIES), initializer=uniform_phase, name="phases")
        self.mapping = self.add_weight(
            shape=(numbers, FREQUENCIES, MAPPINGS), initializer="glorot_uniform", name="mapping"
        )
        self.bias = self.add_weight(shape=(numbers, MAPPINGS), initializer="zeros", name="bias")

    def call(self, numbers: Any) -> Any:
        angles = 2 * np.pi * keras.ops.expand_dims(numbers, -1) * self.frequencies + self.phases
        waves = keras.ops.cos(angles)
        # Broadcast and sum instead of an einsum: the exported network then only has plain operations.
        mapped = keras.ops.sum(keras.ops.expand_dims(waves, -1) * self.mapping, axis=2) + self.bias
        joined = keras.ops.concatenate([keras.ops.expand_dims(numbers, -1), mapped], axis=-1)
        return keras.ops.reshape(joined, (-1, numbers.shape[1] * (MAPPINGS + 1)))


@keras.saving.register_keras_serializable("sabueso")
class Members(keras.layers.Layer):
    """(n, d) -> (n, members, d): each member scales the input by its own learned factors, which start as random signs.

    The mini ensemble of TabM (Gorishniy et al. 2024, arXiv:2410.24210, 3.3), with the random signs of BatchEnsemble.
    """

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.count = count

    def build(self, shape: tuple[int | None, int]) -> None:
        signs = keras.initializers.RandomUniform(-1, 1)
        self.scales = self.add_weight(
            shape=(self.count, shape[1]),
            initializer=lambda *shape, **options: keras.ops.sign(signs(*shape, **options)),
            name="scales",
        )

    def call(self, inputs: Any) -> Any:
        return keras.ops.expand_dims(inputs, 1) * self.scales


@keras.saving.register_keras_serializable("sabueso")
class Scaling(keras.layers.Layer):
    """(n, d) -> (n, d): one learned factor per feature, a soft feature selection (RealMLP, arXiv:2407.04491, 2.2)."""

    def build(self, shape: tuple[int | None, int]) -> None:
        self.scales = self.add_weight(shape=(shape[-1],), initializer="ones", name="scales")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scales


@keras.saving.register_keras_serializable("sabueso")
class ParametricSilu(keras.layers.Layer):
    """x + a (silu(x) - x) with a learned factor a per feature: identity at 0, SiLU at 1 (RealMLP, 2.2)."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.scales = self.add_weight(shape=(shape[-1],), initializer="ones", name="scales")

    def call(self, inputs: Any) -> Any:
        return inputs * ((1 - self.scales) + self.scales * keras.ops.sigmoid(inputs))


@keras.saving.register_keras_serializable("sabueso")
class MemberLogits(keras.layers.Layer):
    """(n, members, d) -> (n, members, classes): a separate last layer per member."""

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
    """The number of members for a train split of that many rows."""
    return max(MIN_MEMBERS, min(MAX_MEMBERS, MEMBER_ROWS // max(1, rows)))


def batch_size_for(rows: int) -> int:
    """The largest power of two up to a 64th of the rows, between 16 and 256; never more than the rows."""
    return min(rows, max(16, min(256, 1 << (max(1, rows // BATCHES_PER_EPOCH).bit_length() - 1))))


def width_for(rows: int) -> int:
    """The width of the layers for a train split of that many rows."""
    return WIDE if rows >= WIDE_ROWS else WIDTH


def category_inputs(inputs: Any, slots: list[int]) -> list[Any]:
    """(n, numbers + categories) -> one embedding (n, d) per category."""
    numbers = inputs.shape[1] - len(slots)
    embeddings = []
    for category, count in enumerate(slots):
        slot = keras.ops.cast(inputs[:, numbers + category], "int32")
        layer = keras.layers.Embedding(count, min(CATEGORY_WIDTH, count), name=f"category_{category}")
        embeddings.append(layer(slot))
    return embeddings


def build_tabular(numbers: int, slots: list[int], classes: int, members: int, width: int = WIDTH) -> keras.Model:
    """Float32 (n, numbers + categories), categories as slot indices -> logits (n, members, classes), embedding."""
    inputs = keras.Input((numbers + len(slots),), name="rows")
    features = []
    if numbers:
        features.append(PeriodicNumbers(name="numbers")(inputs[:, :numbers]))
    features += category_inputs(inputs, slots)
    hidden = keras.layers.Concatenate()(features) if len(features) > 1 else features[0]
    hidden = Members(members, name="members")(Scaling(name="scaling")(hidden))
    embedding = hidden
    for layer in range(LAYERS):
        hidden = keras.layers.Dense(width, use_bias=False, name=f"dense_{layer}")(hidden)
        hidden = keras.layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"norm_{layer}")(hidden)
        embedding = ParametricSilu(name=f"silu_{layer}")(hidden)
        hidden = keras.layers.Dropout(DROPOUT)(embedding)
    return keras.Model(inputs, [MemberLogits(classes, name="logits")(hidden), embedding[:, 0]], name="tabular")


class TabularBatches:
    """Shuffled batches of encoded rows. An incomplete last batch is dropped, so that every step has the same shape."""

    late_share = 0.0
    optimizer, learning_rate, weight_decay, smoothing = "muon", 8e-3, 0.02, 0.05

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> None:
        self.inputs, self.labels, self.seed = inputs, labels, seed
        self.targets = np.eye(classes, dtype=np.float32)[labels]
        self.batch_size = batch_size_for(len(inputs))
        self.steps_per_epoch = len(inputs) // self.batch_size
        self.max_epochs = max(EPOCHS, min(MAX_EPOCHS, MIN_STEPS // self.steps_per_epoch))

    def set_epochs(self, epochs: int) -> None:
        """Batches of rows are the same for any number of epochs."""

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng((self.seed, number)).permutation(len(self.inputs))
        for step in range(self.steps_per_epoch):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield tf.constant(self.inputs[chosen]), tf.constant(self.targets[chosen])
