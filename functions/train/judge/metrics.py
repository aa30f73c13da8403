"""Metrics of a classifier with bootstrap intervals. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

RESAMPLES, SIMULATED = 500, 200
BINS = 15
SEED = 11

Array = np.ndarray[Any, Any]


class Counts(NamedTuple):
    """Examples by label, each (..., classes): how many have it, how many got it as answer, how many both.

    A confusion table says no more of accuracy and F1, and grows with the square of the labels.
    """

    truth: Array
    said: Array
    hits: Array


def counts_of(labels: Array, answers: Array, classes: int, drawn: Array | None = None) -> Counts:
    """Counts of the n examples, or of resamples of them: `drawn` (..., n) is how often each example is in each."""
    drawn = np.ones(len(labels)) if drawn is None else drawn
    shape = (*drawn.shape[:-1], classes)
    size = math.prod(shape)
    first = np.arange(0, size, classes).reshape(*shape[:-1], 1)

    def by(places: Array, weights: Array) -> Array:
        return np.bincount((first + places).ravel(), weights.ravel(), size).reshape(shape)

    right = labels == answers
    return Counts(by(labels, drawn), by(answers, drawn), by(labels[right], drawn[..., right]))


def confusion(labels: Array, answers: Array, classes: int) -> Array:
    """Counts (classes, classes): rows are true labels, columns the answers."""
    return np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)


def accuracy_of(counts: Counts) -> Any:
    """The share of right answers: one number, or one a resample."""
    return counts.hits.sum(axis=-1) / np.maximum(counts.truth.sum(axis=-1), 1e-12)


def macro_f1_of(counts: Counts) -> Any:
    """Mean F1 over the labels that occur, in truth or among the answers: one number, or one a resample."""
    both = counts.truth + counts.said
    hits = 2.0 * counts.hits
    scores = np.divide(hits, both, out=np.zeros_like(hits), where=both > 0)
    return scores.sum(axis=-1) / np.maximum((both > 0).sum(axis=-1), 1)


METRICS = {"accuracy": accuracy_of, "macro_f1": macro_f1_of}


def log_loss(probabilities: Array, labels: Array) -> Array:
    """-log of the probability of the true label, one an example."""
    return -np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1))


def calibration_error(confidence: Array, correct: Array) -> float:
    """Expected calibration error, 15 equal-width bins (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(bins, correct - confidence, minlength=BINS))
    return float(gaps.sum() / len(confidence))


def ideal_calibration_errors(confidence: Array) -> list[float]:
    """Calibration errors of 200 seeded draws of outcomes, each with the chance that its confidence tells.

    What one that is perfectly calibrated would show with so many examples.
    """
    generator = np.random.default_rng(SEED)
    drawn = (generator.random(len(confidence)) < confidence for _ in range(SIMULATED))
    return [calibration_error(confidence, one.astype(float)) for one in drawn]


def _interval(value: float, resampled: Sequence[float] | Array) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"value": round(float(value), 6), "low": round(float(low), 6), "high": round(float(high), 6)}


def _share_interval(hits: float, count: float, resampled: Sequence[float] | Array) -> dict[str, float]:
    """Of a share. All or none of the examples leave resamples without a spread: that end is exact.

    (Clopper & Pearson 1934.)
    """
    found = _interval(hits / count if count else 0.0, resampled)
    beyond = round(float(0.025 ** (1 / count)), 6) if count else 0.0
    if hits == 0:
        found["high"] = round(1 - beyond, 6)
    elif hits == count:
        found["low"] = beyond
    return found


def _centred_interval(value: float, resampled: list[float]) -> dict[str, float]:
    """Moved to the value: resampling adds a calibration error of its own, above the value and all of its spread."""
    shift = value - float(np.mean(resampled))
    return _interval(value, [max(0.0, one + shift) for one in resampled])


def evaluate(
    probabilities: Array, labels: Array, names: tuple[str, ...], statuses: Sequence[str] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics and per-class figures, each {"value", "low", "high"} with the 95 % bootstrap interval.

    probabilities (n, classes), labels (n,) as indices; with the answers' statuses also the share of sure and unknown
    ones and the error of the sure ones, if there are any. Percentile bootstrap, 500 resamples (Efron 1979), seeded.
    """
    classes, count = len(names), len(labels)
    answers = probabilities.argmax(axis=1)
    confidence, correct = probabilities.max(axis=1), (answers == labels).astype(float)
    losses = log_loss(probabilities, labels)
    generator = np.random.default_rng(SEED)
    picks = [generator.integers(0, count, count) for _ in range(RESAMPLES)]
    whole = counts_of(labels, answers, classes)
    # Counted one by one: a table of all resamples and examples would take much memory.
    found = [counts_of(labels[chosen], answers[chosen], classes) for chosen in picks]
    resampled = Counts(*np.swapaxes(np.array(found), 0, 1))
    gaps = [calibration_error(confidence[chosen], correct[chosen]) for chosen in picks]
    ideal = ideal_calibration_errors(confidence)
    metrics = {
        "holdout_size": count,
        "accuracy": _share_interval(correct.sum(), count, accuracy_of(resampled)),
        "macro_f1": _interval(macro_f1_of(whole), macro_f1_of(resampled)),
        "log_loss": _interval(losses.mean(), [losses[chosen].mean() for chosen in picks]),
        "calibration_error": _centred_interval(calibration_error(confidence, correct), gaps),
        "calibration_error_ideal": _interval(float(np.mean(ideal)), ideal),
    }
    if statuses is not None:
        metrics |= _status_figures(np.array(statuses), correct, picks)
    precisions, recalls = (resampled.hits / np.maximum(of, 1) for of in (resampled.said, resampled.truth))
    per_class = [
        {
            "label": name,
            "support": int(whole.truth[index]),
            "precision": _share_interval(whole.hits[index], whole.said[index], precisions[:, index]),
            "recall": _share_interval(whole.hits[index], whole.truth[index], recalls[:, index]),
        }
        for index, name in enumerate(names)
    ]
    return metrics, per_class


def _status_figures(statuses: Array, correct: Array, picks: list[Array]) -> dict[str, Any]:
    sure, unknown, count = statuses == "sure", statuses == "unknown", len(statuses)
    found = {
        "sure_share": _share_interval(sure.sum(), count, [sure[chosen].mean() for chosen in picks]),
        "unknown_share": _share_interval(unknown.sum(), count, [unknown[chosen].mean() for chosen in picks]),
    }
    wrong = sure * (1 - correct)
    errors = [wrong[chosen].sum() / sure[chosen].sum() for chosen in picks if sure[chosen].any()]
    if errors and sure.any():
        found["sure_error"] = _share_interval(wrong.sum(), sure.sum(), errors)
    return found
