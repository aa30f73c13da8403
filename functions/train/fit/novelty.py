"""Layers that measure novelty: how different an input is from the train split. Fitted on the train split only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from train.statistics.discriminant import LabelStatistics, label_statistics, moments

SHRINKAGE = 0.1
# The directions of largest variance keep a variance of their own; all others share one.
DIRECTIONS = 128
# Rows to compare inputs with, and rows to estimate the covariance from.
STORED_ROWS, COVARIANCE_ROWS = 4000, 20_000
# One-hot columns for all categories together. Beyond its share, a category's rarest values share one column.
MAX_ONE_HOT_COLUMNS = 512


@keras.saving.register_keras_serializable("sabueso")
class NearestLabel(keras.layers.Layer):
    """Embedding (n, d) -> (n,): Mahalanobis distance to the nearest label mean (Lee et al. 2018, arXiv:1807.03888).

    Embeddings are scaled to length 1 (Mueller & Hein 2025, arXiv:2505.18032): the length says how much evidence there
    is, not for what. Beyond the first directions the covariance has one variance (Tipping & Bishop 1999).
    """

    def __init__(self, statistics: LabelStatistics) -> None:
        super().__init__()
        means = statistics.means[statistics.counts > 0]
        eigenvalues = statistics.shrunk_eigenvalues(SHRINKAGE)
        count = min(DIRECTIONS, len(eigenvalues) - 1)
        directions, shared_variance = statistics.eigenvectors[:, :count], eigenvalues[count:].mean()
        weights = 1 / eigenvalues[:count] - 1 / shared_variance
        centre = means.mean(axis=0)
        centred = means - centre
        kernel = centred.T / shared_variance + directions @ (weights[:, None] * (directions.T @ centred.T))
        arrays = (centre, directions, weights, kernel, (centred.T * kernel).sum(axis=0))
        self.shared_variance = float(shared_variance)
        self.arrays = [np.asarray(array, np.float32) for array in arrays]

    def call(self, embedding: Any) -> Any:
        centre, directions, weights, kernel, squares = self.arrays
        unit = embedding / (keras.ops.norm(embedding, axis=-1, keepdims=True) + 1e-6)
        centred = unit - centre
        projected = keras.ops.matmul(centred, directions)
        square = keras.ops.sum(centred * centred, axis=-1) / self.shared_variance
        square = square + keras.ops.sum(projected * projected * weights, axis=-1)
        # |x - m|^2 = |x|^2 + (|m|^2 - 2 x m), in the metric of the covariance.
        nearest = keras.ops.min(squares - 2 * keras.ops.matmul(centred, kernel), axis=-1)
        return keras.ops.sqrt(keras.ops.maximum(square + nearest, 0.0))


def nearest_label(embeddings: np.ndarray, labels: np.ndarray) -> NearestLabel:
    """The layer, fitted on embeddings (n, d) of the train split and their labels (n,)."""
    unit = embeddings / (np.linalg.norm(embeddings, axis=1, keepdims=True) + 1e-6)
    return NearestLabel(label_statistics(moments(unit[None], labels, int(labels.max()) + 1)))


@keras.saving.register_keras_serializable("sabueso")
class NearestRow(keras.layers.Layer):
    """Encoded rows (n, numbers + categories) -> (n,): distance to the nearest stored row, in whitened space.

    A row of plausible values in an implausible combination is far from every stored row. The network's embedding misses
    most such rows, since it represents only what separates the labels.
    """

    def __init__(self, kernel: np.ndarray, tables: Sequence[np.ndarray], rows: np.ndarray) -> None:
        super().__init__()
        self.numbers, self.centre = len(kernel), rows.mean(axis=0).astype(np.float32)
        self.kernel, self.tables = kernel.astype(np.float32), [table.astype(np.float32) for table in tables]
        centred = (rows - rows.mean(axis=0)).T
        # |x - r|^2 = |x|^2 + (|r|^2 - 2 x r): the bracket is one dense layer in the exported network.
        self.rows, self.squares = (-2 * centred).astype(np.float32), (centred**2).sum(axis=0).astype(np.float32)

    def call(self, inputs: Any) -> Any:
        whitened = keras.ops.zeros_like(inputs[:, :1])
        if self.numbers:
            whitened = keras.ops.matmul(inputs[:, : self.numbers], self.kernel)
        whitened = whitened - self.centre
        for category, table in enumerate(self.tables):
            slot = keras.ops.cast(inputs[:, self.numbers + category], "int32")
            whitened = whitened + keras.ops.take(table, slot, axis=0)
        nearest = keras.ops.min(keras.ops.matmul(whitened, self.rows) + self.squares, axis=1)
        return keras.ops.sqrt(keras.ops.maximum(nearest + keras.ops.sum(whitened * whitened, axis=1), 0.0))


def nearest_row(encoded: np.ndarray, numbers: int, slots: list[int], seed: int) -> NearestRow:
    """The layer for encoded rows: numbers and one-hot categories, whitened together.

    `numbers`: how many columns hold numbers; `slots`: the number of slots of each category after them.
    """
    chosen = np.random.default_rng(seed).permutation(len(encoded))[:COVARIANCE_ROWS]
    rows = encoded[chosen].astype(np.float64)
    limit = max(3, MAX_ONE_HOT_COLUMNS // max(1, len(slots)))
    categories = [rows[:, numbers + index].astype(int) for index in range(len(slots))]
    one_hot = [_one_hot_table(values, count, limit) for values, count in zip(categories, slots, strict=True)]
    expanded = np.concatenate(
        [rows[:, :numbers], *[table[values] for table, values in zip(one_hot, categories, strict=True)]], axis=1
    )
    statistics = label_statistics(moments(expanded[None], np.zeros(len(expanded), dtype=int), 1))
    whitening = statistics.eigenvectors / np.sqrt(statistics.shrunk_eigenvalues(SHRINKAGE))
    ends = np.cumsum([numbers, *[table.shape[1] for table in one_hot]])
    tables = [table @ whitening[start:end] for table, start, end in zip(one_hot, ends[:-1], ends[1:], strict=True)]
    return NearestRow(whitening[:numbers], tables, (expanded @ whitening)[:STORED_ROWS])


def _one_hot_table(values: np.ndarray, slots: int, limit: int) -> np.ndarray:
    """(slots, columns): the one-hot row of each slot; slot 0 (unseen values) has column 0.

    There are at most `limit` columns: the rarest values share the last one.
    """
    counts = np.bincount(values, minlength=slots)[1:]
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    column = np.concatenate([[0], np.minimum(rank + 1, limit - 1)])
    return np.eye(int(column.max()) + 1)[column]
