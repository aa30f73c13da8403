"""How unlike the train part an input is: the layer that answers it, fitted on the train part alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

SHRINKAGE = 0.1
# Rows that are kept to compare with, and rows that their spread is taken from.
KEPT_ROWS, SPREAD_ROWS = 4000, 20_000
# Places of all categories together; the rarest of a category share one.
PLACES = 512
UNIT, CHUNK = 0.99, 256


def _whitening(apart: np.ndarray) -> np.ndarray:
    """(n, d) around zero -> (d, d): after it the spread is one in each direction, by a shrunk covariance."""
    covariance = apart.T @ apart / len(apart)
    level = np.trace(covariance) / len(covariance) + 1e-8
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(shrunk)
    return np.asarray(vectors / np.sqrt(values))


@keras.saving.register_keras_serializable("sabueso")
class NearestLabel(keras.layers.Layer):
    """Embedding (n, d) -> (n,): Mahalanobis distance to the nearest label mean (Lee et al. 2018, arXiv:1807.03888)."""

    def __init__(self, means: np.ndarray, whitening: np.ndarray) -> None:
        super().__init__()
        self.means = (means @ whitening).astype(np.float32)
        self.whitening = whitening.astype(np.float32)

    def call(self, embedding: Any) -> Any:
        flat = keras.ops.matmul(embedding, self.whitening)
        apart = keras.ops.expand_dims(flat, 1) - self.means
        return keras.ops.sqrt(keras.ops.min(keras.ops.sum(apart * apart, axis=-1), axis=1))


def nearest_label(embeddings: np.ndarray, labels: np.ndarray) -> NearestLabel:
    """The layer, from label means and one covariance within labels."""
    present = np.unique(labels)
    means = np.stack([embeddings[labels == label].mean(axis=0) for label in present])
    return NearestLabel(means, _whitening(embeddings - means[np.searchsorted(present, labels)]))


@keras.saving.register_keras_serializable("sabueso")
class PictureNovelty(keras.layers.Layer):
    """Pixels (n, side, side, 3) and embedding (n, d) -> (n,): the larger of two distances, each in a unit of its own.

    The embedding's to the nearest label mean, and that of colour and texture to those of the train part: a network
    takes what it never learned to tell apart for one of its labels.
    """

    def __init__(self, embedding: NearestLabel, look: NearestLabel, units: tuple[float, float]) -> None:
        super().__init__()
        self.embedding, self.look, self.units = embedding, look, units

    def call(self, pixels: Any, embedding: Any) -> Any:
        seen, looked = self.embedding(embedding), self.look(picture_look(pixels))
        return keras.ops.maximum(seen / self.units[0], looked / self.units[1])


def picture_look(pixels: Any) -> Any:
    """Pixels 0..255 (n, side, side, 3) -> (n, 12): mean, spread, and change along both sides, of each colour.

    Taken line by line: means of so few channels side by side take three times longer.
    """
    side = pixels.shape[1]
    lines = keras.ops.reshape(keras.ops.cast(pixels, "float32"), (-1, side, 3 * side))
    mean = _mean(lines)
    apart = lines - keras.ops.tile(mean, (1, side))[:, None]
    across, down = lines[:, :, 3:] - lines[:, :, :-3], lines[:, 1:] - lines[:, :-1]
    changes = [_mean(keras.ops.abs(one)) / 255 for one in (across, down)]
    spread = keras.ops.sqrt(_mean(apart * apart) / 255**2 + 1e-8)
    return keras.ops.concatenate([mean / 255, spread, *changes], axis=1)


def _mean(lines: Any) -> Any:
    """(n, lines, 3 x places) -> (n, 3)."""
    summed = keras.ops.mean(lines, axis=1)
    return keras.ops.mean(keras.ops.reshape(summed, (-1, summed.shape[1] // 3, 3)), axis=1)


def picture_novelty(
    train: tuple[np.ndarray, np.ndarray], labels: np.ndarray, tune: tuple[np.ndarray, np.ndarray]
) -> PictureNovelty:
    """The layer for pictures, from pixels and embeddings: fitted on the train part, units as far as tune goes."""
    looks = [
        np.concatenate([np.asarray(picture_look(part[at : at + CHUNK])) for at in range(0, len(part), CHUNK)])
        for part in (train[0], tune[0])
    ]
    seen, looked = nearest_label(train[1], labels), nearest_label(looks[0], np.zeros(len(looks[0])))
    units = [float(np.quantile(one, UNIT)) for one in (seen(tune[1]), looked(looks[1]))]
    return PictureNovelty(seen, looked, (units[0], units[1]))


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

    def call(self, inputs: Any, embedding: Any = None) -> Any:
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
    whitening = _whitening(spread - spread.mean(axis=0))
    ends = np.cumsum([numbers, *[table.shape[1] for table in ones]])
    tables = [table @ whitening[start:end] for table, start, end in zip(ones, ends[:-1], ends[1:], strict=True)]
    return NearestRow(whitening[:numbers], tables, (spread @ whitening)[:KEPT_ROWS])


def _places(seen: np.ndarray, slots: int, most: int) -> np.ndarray:
    """(slots, places) of ones: a place for each slot, unseen ones at 0; beyond `most` the rarest share the last."""
    counts = np.bincount(seen, minlength=slots)[1:]
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    place = np.concatenate([[0], np.minimum(rank + 1, most - 1)])
    return np.eye(int(place.max()) + 1)[place]
