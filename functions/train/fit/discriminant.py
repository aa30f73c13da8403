"""A linear head on the embeddings of a network that knows pictures already. Pure numpy.

Linear discriminant analysis: every label has a mean, all share one covariance, which is shrunk towards a sphere
(Friedman 1989, doi:10.2307/2289860). It is solved in one step from sums over the examples, which can be subtracted:
cross-validation costs little more than a single fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.bundle.calibration import best_temperature

SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
FOLDS = 5
CHUNK = 4096
# The logarithm of the frequency of a label without examples.
NEVER = -1e4


@dataclass(frozen=True)
class Moments:
    """Sums over embeddings: their counts (labels,) and sums (labels, d) by label, and of outer products (d, d)."""

    counts: np.ndarray
    sums: np.ndarray
    outer: np.ndarray

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.counts - other.counts, self.sums - other.sums, self.outer - other.outer)


def moments(embeddings: np.ndarray, labels: np.ndarray, count: int, chosen: np.ndarray | None = None) -> Moments:
    """Of embeddings (views, n, d), several views of the same examples, with labels (n,) from 0 to count - 1."""
    chosen = np.arange(len(labels)) if chosen is None else chosen
    width = embeddings.shape[2]
    counts, sums, outer = np.zeros(count), np.zeros((count, width)), np.zeros((width, width))
    for view in embeddings:
        for at in range(0, len(chosen), CHUNK):
            places = chosen[at : at + CHUNK]
            part, ones = view[places].astype(np.float64), np.eye(count)[labels[places]]
            counts += ones.sum(axis=0)
            sums += ones.T @ part
            outer += part.T @ part
    return Moments(counts, sums, outer)


@dataclass(frozen=True)
class Spread:
    """Counts and means (labels, d) by label; eigenvalues, largest first, and eigenvectors of the covariance within."""

    counts: np.ndarray
    means: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    def shrunk(self, shrinkage: float) -> np.ndarray:
        """The eigenvalues (d,), moved towards their mean."""
        return (1 - shrinkage) * self.values + shrinkage * self.values.mean() + 1e-12


def spread_of(found: Moments) -> Spread:
    """Means and covariance from the sums."""
    means = found.sums / np.maximum(found.counts, 1)[:, None]
    covariance = (found.outer - (means * found.counts[:, None]).T @ means) / found.counts.sum()
    values, vectors = np.linalg.eigh(covariance)
    return Spread(found.counts, means, np.maximum(values[::-1], 0), vectors[:, ::-1])


@dataclass(frozen=True)
class Discriminant:
    """`kernel` (d, labels) and `bias` score embeddings by distance alone; `frequency` (labels,): logarithms."""

    kernel: np.ndarray
    bias: np.ndarray
    frequency: np.ndarray

    def scores(self, embeddings: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Of the chosen ones of (n, d), part by part: they may be mapped from a file."""
        parts = [chosen[at : at + CHUNK] for at in range(0, len(chosen), CHUNK)]
        return np.concatenate([embeddings[part] @ self.kernel + self.bias for part in parts])

    def head(self, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of a layer from embeddings to logits; the temperature divides distances alone."""
        return self.kernel / temperature, self.bias / temperature + self.frequency


def discriminant(spread: Spread, shrinkage: float) -> Discriminant:
    scaled = spread.vectors / np.sqrt(spread.shrunk(shrinkage))
    means = spread.means @ scaled
    frequency = np.where(spread.counts > 0, np.log(np.maximum(spread.counts, 1) / spread.counts.sum()), NEVER)
    return Discriminant(scaled @ means.T, -0.5 * (means**2).sum(axis=1), frequency)


@dataclass(frozen=True)
class CrossValidation:
    """The best shrinkage and temperature. `logits` (n, labels): each example's, by a head that has not seen it.

    `folds` (n,): which of `spreads` has not seen an example.
    """

    shrinkage: float
    temperature: float
    logits: np.ndarray
    folds: np.ndarray
    spreads: list[Spread]


def cross_validate(embeddings: np.ndarray, labels: np.ndarray, whole: Moments, seed: int) -> CrossValidation:
    """Shrinkage and temperature of the lowest log loss in five-fold cross-validation, balanced by label.

    Embeddings (views, n, d): heads learn from all views and answer the first. `whole`: the moments of all.
    """
    folds, count = _stratified(labels, seed), len(whole.counts)
    places = [chosen for fold in range(FOLDS) if len(chosen := np.flatnonzero(folds == fold))]
    spreads = [spread_of(whole - moments(embeddings, labels, count, chosen)) for chosen in places]
    lowest, best = np.inf, (1.0, 1.0, np.empty(0))
    scores, frequency = np.empty((len(labels), count)), np.empty((len(labels), count))
    for shrinkage in SHRINKAGES:
        for spread, chosen in zip(spreads, places, strict=True):
            one = discriminant(spread, shrinkage)
            scores[chosen], frequency[chosen] = one.scores(embeddings[0], chosen), one.frequency
        temperature, loss = best_temperature(scores, labels, frequency)
        if loss < lowest:
            lowest, best = loss, (shrinkage, temperature, scores / temperature + frequency)
    return CrossValidation(*best, folds, spreads)


def _stratified(labels: np.ndarray, seed: int) -> np.ndarray:
    """The fold (n,) of each example."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), dtype=int)
    folds[order] = np.arange(len(labels)) % FOLDS
    return folds
