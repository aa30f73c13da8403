"""A linear head on the embeddings of a pretrained network. Pure numpy.

Linear discriminant analysis: each label has its own mean; all labels share one covariance, shrunk towards a multiple of
the identity (Friedman 1989, doi:10.2307/2289860). The solution is computed directly from sums over the examples. Sums
can be subtracted, so cross-validation costs little more than one fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.statistics.calibration import best_temperature

SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
FOLDS = 5
CHUNK = 4096
# The log frequency of a label that has no examples.
NO_EXAMPLES = -1e4


@dataclass(frozen=True)
class Moments:
    """Sums over embeddings: counts (labels,) and sums (labels, d) by label, and the sum of outer products (d, d)."""

    counts: np.ndarray
    sums: np.ndarray
    outer: np.ndarray

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.counts - other.counts, self.sums - other.sums, self.outer - other.outer)


def moments(embeddings: np.ndarray, labels: np.ndarray, count: int, chosen: np.ndarray | None = None) -> Moments:
    """The moments of embeddings (views, n, d), with labels (n,) from 0 to count - 1.

    All views of an example share its label. `chosen`: indices of the examples to use; default: all.
    """
    chosen = np.arange(len(labels)) if chosen is None else chosen
    width = embeddings.shape[2]
    counts, sums, outer = np.zeros(count), np.zeros((count, width)), np.zeros((width, width))
    for view in embeddings:
        for start in range(0, len(chosen), CHUNK):
            indices = chosen[start : start + CHUNK]
            chunk, one_hot = view[indices].astype(np.float64), np.eye(count)[labels[indices]]
            counts += one_hot.sum(axis=0)
            sums += one_hot.T @ chunk
            outer += chunk.T @ chunk
    return Moments(counts, sums, outer)


@dataclass(frozen=True)
class LabelStatistics:
    """Counts (labels,) and means (labels, d) by label, and the covariance within labels.

    The covariance is given by its eigenvalues (d,), largest first, and its eigenvectors (d, d).
    """

    counts: np.ndarray
    means: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray

    def shrunk_eigenvalues(self, shrinkage: float) -> np.ndarray:
        """The eigenvalues (d,), moved towards their mean."""
        return (1 - shrinkage) * self.eigenvalues + shrinkage * self.eigenvalues.mean() + 1e-12


def label_statistics(sums: Moments) -> LabelStatistics:
    """Means and covariance from the sums."""
    means = sums.sums / np.maximum(sums.counts, 1)[:, None]
    covariance = (sums.outer - (means * sums.counts[:, None]).T @ means) / sums.counts.sum()
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    return LabelStatistics(sums.counts, means, np.maximum(eigenvalues[::-1], 0), eigenvectors[:, ::-1])


@dataclass(frozen=True)
class Discriminant:
    """`kernel` (d, labels) and `bias` (labels,) score an embedding by its distance to each label's mean.

    `log_frequency` (labels,): how frequent each label is.
    """

    kernel: np.ndarray
    bias: np.ndarray
    log_frequency: np.ndarray

    def scores(self, embeddings: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Scores of the chosen rows of (n, d). Read in chunks: the embeddings may be mapped from a file."""
        chunks = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
        return np.concatenate([embeddings[indices] @ self.kernel + self.bias for indices in chunks])

    def head(self, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of a layer from embeddings to logits; the temperature divides the distances only."""
        return self.kernel / temperature, self.bias / temperature + self.log_frequency


def discriminant(statistics: LabelStatistics, shrinkage: float) -> Discriminant:
    whitening = statistics.eigenvectors / np.sqrt(statistics.shrunk_eigenvalues(shrinkage))
    means, counts = statistics.means @ whitening, statistics.counts
    log_frequency = np.where(counts > 0, np.log(np.maximum(counts, 1) / counts.sum()), NO_EXAMPLES)
    return Discriminant(whitening @ means.T, -0.5 * (means**2).sum(axis=1), log_frequency)


@dataclass(frozen=True)
class CrossValidation:
    """The best shrinkage and temperature. `logits` (n, labels): each example's, from a head fitted without it.

    `folds` (n,): the fold of each example. `statistics`: for each fold, those of all other examples.
    """

    shrinkage: float
    temperature: float
    logits: np.ndarray
    folds: np.ndarray
    statistics: list[LabelStatistics]


def cross_validate(embeddings: np.ndarray, labels: np.ndarray, whole: Moments, seed: int) -> CrossValidation:
    """Shrinkage and temperature with the lowest log loss in five-fold cross-validation, stratified by label.

    Embeddings (views, n, d): heads are fitted on all views and scored on the first. `whole`: the moments of all
    examples.
    """
    folds, count = _stratified_folds(labels, seed), len(whole.counts)
    held_out = [chosen for fold in range(FOLDS) if len(chosen := np.flatnonzero(folds == fold))]
    statistics = [label_statistics(whole - moments(embeddings, labels, count, chosen)) for chosen in held_out]
    lowest_loss, best = np.inf, (1.0, 1.0, np.empty(0))
    scores, log_frequency = np.empty((len(labels), count)), np.empty((len(labels), count))
    for shrinkage in SHRINKAGES:
        for others, chosen in zip(statistics, held_out, strict=True):
            fitted = discriminant(others, shrinkage)
            scores[chosen], log_frequency[chosen] = fitted.scores(embeddings[0], chosen), fitted.log_frequency
        temperature, loss = best_temperature(scores, labels, log_frequency)
        if loss < lowest_loss:
            lowest_loss, best = loss, (shrinkage, temperature, scores / temperature + log_frequency)
    return CrossValidation(*best, folds, statistics)


def _stratified_folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """The fold (n,) of each example."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), dtype=int)
    folds[order] = np.arange(len(labels)) % FOLDS
    return folds
