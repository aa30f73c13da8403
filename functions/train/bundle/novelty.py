"""How unlike the train part an input is: the layer that answers it, fitted on the train part alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from train.fit.discriminant import Spread, moments, spread_of

SHRINKAGE = 0.1
# Of the embedding's directions those in which the train part differs most; the others count alike.
DIRECTIONS = 128
# Rows that are kept to compare with, and rows that their spread is taken from.
KEPT_ROWS, SPREAD_ROWS = 4000, 20_000
# Places of all categories together; the rarest of a category share one.
PLACES = 512


@keras.saving.register_keras_serializable("sabueso")
class NearestLabel(keras.layers.Layer):
    """Embedding (n, d) -> (n,): Mahalanobis distance to the nearest label mean (Lee et al. 2018, arXiv:1807.03888).

    Embeddings are compared at length 1 (Mueller & Hein 2025, arXiv:2505.18032): their length says how much there is to
    see, not what. The covariance has its first directions, and one variance for all others (Tipping & Bishop 1999).
    """

    def __init__(self, spread: Spread) -> None:
        super().__init__()
        present = spread.means[spread.counts > 0]
        values, kept = spread.shrunk(SHRINKAGE), min(DIRECTIONS, len(spread.values) - 1)
        directions, rest = spread.vectors[:, :kept], values[kept:].mean()
        weights = 1 / values[:kept] - 1 / rest
        centre = present.mean(axis=0)
        apart = present - centre
        kernel = apart.T / rest + directions @ (weights[:, None] * (directions.T @ apart.T))
        arrays = (centre, directions, weights, kernel, (apart.T * kernel).sum(axis=0))
        self.rest, self.arrays = float(rest), [np.asarray(one, np.float32) for one in arrays]

    def call(self, embedding: Any) -> Any:
        centre, directions, weights, kernel, squares = self.arrays
        unit = embedding / (keras.ops.norm(embedding, axis=-1, keepdims=True) + 1e-6)
        apart = unit - centre
        along = keras.ops.matmul(apart, directions)
        common = keras.ops.sum(apart * apart, axis=-1) / self.rest + keras.ops.sum(along * along * weights, axis=-1)
        nearest = keras.ops.min(squares - 2 * keras.ops.matmul(apart, kernel), axis=-1)
        return keras.ops.sqrt(keras.ops.maximum(common + nearest, 0.0))


def nearest_label(embeddings: np.ndarray, labels: np.ndarray) -> NearestLabel:
    """The layer, from embeddings (n, d) of the train part and their labels (n,)."""
    unit = embeddings / (np.linalg.norm(embeddings, axis=1, keepdims=True) + 1e-6)
    return NearestLabel(spread_of(moments(unit[None], labels, int(labels.max()) + 1)))


@keras.saving.register_keras_serializable("sabueso")
class NearestRow(keras.layers.Layer):
    """Encoded rows (n, numbers + categories) -> (n,): distance to the nearest kept row, in whitened space.

    Columns that are plausible one by one but not together are far from every row seen; the network's last layer, which
    knows only what tells the labels apart, does not see most of that.
    """

    def __init__(self, kernel: np.ndarray, tables: Sequence[np.ndarray], rows: np.ndarray) -> None:
        super().__init__()
        self.numbers, self.centre = len(kernel), rows.mean(axis=0).astype(np.float32)
        self.kernel, self.tables = kernel.astype(np.float32), [table.astype(np.float32) for table in tables]
        kept = (rows - rows.mean(axis=0)).T
        # |x - r|^2 less what is the same for every r; one dense layer when it is exported.
        self.rows, self.squares = (-2 * kept).astype(np.float32), (kept**2).sum(axis=0).astype(np.float32)

    def call(self, inputs: Any) -> Any:
        flat = keras.ops.zeros_like(inputs[:, :1])
        if self.numbers:
            flat = keras.ops.matmul(inputs[:, : self.numbers], self.kernel)
        flat = flat - self.centre
        for place, table in enumerate(self.tables):
            slot = keras.ops.cast(inputs[:, self.numbers + place], "int32")
            flat = flat + keras.ops.take(table, slot, axis=0)
        nearest = keras.ops.min(keras.ops.matmul(flat, self.rows) + self.squares, axis=1)
        return keras.ops.sqrt(keras.ops.maximum(nearest + keras.ops.sum(flat * flat, axis=1), 0.0))


def nearest_row(encoded: np.ndarray, numbers: int, slots: list[int], seed: int) -> NearestRow:
    """The layer for rows: numbers, and categories as one place each, whitened together."""
    chosen = np.random.default_rng(seed).permutation(len(encoded))[:SPREAD_ROWS]
    part = encoded[chosen].astype(np.float64)
    most = max(3, PLACES // max(1, len(slots)))
    ones = [_places(part[:, numbers + place].astype(int), count, most) for place, count in enumerate(slots)]
    spread = np.concatenate(
        [part[:, :numbers], *[table[part[:, numbers + place].astype(int)] for place, table in enumerate(ones)]], axis=1
    )
    found = spread_of(moments(spread[None], np.zeros(len(spread), dtype=int), 1))
    whitening = found.vectors / np.sqrt(found.shrunk(SHRINKAGE))
    ends = np.cumsum([numbers, *[table.shape[1] for table in ones]])
    tables = [table @ whitening[start:end] for table, start, end in zip(ones, ends[:-1], ends[1:], strict=True)]
    return NearestRow(whitening[:numbers], tables, (spread @ whitening)[:KEPT_ROWS])


def _places(seen: np.ndarray, slots: int, most: int) -> np.ndarray:
    """(slots, places) of ones: a place for each slot, unseen ones at 0; beyond `most` the rarest share the last."""
    counts = np.bincount(seen, minlength=slots)[1:]
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    place = np.concatenate([[0], np.minimum(rank + 1, most - 1)])
    return np.eye(int(place.max()) + 1)[place]
