"""Metrics of a classifier with bootstrap intervals. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from common.inference.contract import Interval, LabelMetrics, Metrics

RESAMPLES, SIMULATIONS = 500, 200
BINS = 15
SEED = 11

Array = np.ndarray[Any, Any]


class Counts(NamedTuple):
    """Examples by label, each (..., classes): with that true label, with that prediction, with both.

    They suffice for accuracy and F1. A confusion table would grow with the square of the number of labels.
    """

    truth: Array
    predicted: Array
    hits: Array


def counts_of(labels: Array, answers: Array, classes: int, drawn: Array | None = None) -> Counts:
    """Counts of n examples, or of resamples: `drawn` (..., n) is how often each example occurs in a resample."""
    drawn = np.ones(len(labels)) if drawn is None else drawn
    shape = (*drawn.shape[:-1], classes)
    size = math.prod(shape)
    offsets = np.arange(0, size, classes).reshape(*shape[:-1], 1)

    def count_by(indices: Array, weights: Array) -> Array:
        return np.bincount((offsets + indices).ravel(), weights.ravel(), size).reshape(shape)

    correct = labels == answers
    return Counts(count_by(labels, drawn), count_by(answers, drawn), count_by(labels[correct], drawn[..., correct]))


def confusion(labels: Array, answers: Array, classes: int) -> Array:
    """Counts (classes, classes): rows are true labels, columns predictions."""
    return np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)


def accuracy_of(counts: Counts) -> Any:
    """The share of correct answers: one number, or one per resample."""
    return counts.hits.sum(axis=-1) / np.maximum(counts.truth.sum(axis=-1), 1e-12)


def macro_f1_of(counts: Counts) -> Any:
    """Mean F1 over the labels that occur in truth or among the predictions: one number, or one per resample."""
    total = counts.truth + counts.predicted
    twice_hits = 2.0 * counts.hits
    scores = np.divide(twice_hits, total, out=np.zeros_like(twice_hits), where=total > 0)
    return scores.sum(axis=-1) / np.maximum((total > 0).sum(axis=-1), 1)


METRICS = {"accuracy": accuracy_of, "macro_f1": macro_f1_of}


def log_loss(probabilities: Array, labels: Array) -> Array:
    """-log of the probability of the true label, one per example."""
    return -np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1))


def calibration_error(confidence: Array, correct: Array) -> float:
    """Expected calibration error, 15 equal-width bins (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(bins, correct - confidence, minlength=BINS))
    return float(gaps.sum() / len(confidence))


def ideal_calibration_errors(confidence: Array) -> list[float]:
    """Calibration errors that a perfectly calibrated model shows on this many examples: 200 seeded simulations."""
    generator = np.random.default_rng(SEED)
    simulated = (generator.random(len(confidence)) < confidence for _ in range(SIMULATIONS))
    return [calibration_error(confidence, correct.astype(float)) for correct in simulated]


def _interval(value: float, resampled: Sequence[float] | Array) -> Interval:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value=round(float(value), 6), low=round(float(low), 6), high=round(float(high), 6))


def _share_interval(hits: float, count: float, resampled: Sequence[float] | Array) -> Interval:
    """The interval of a share. At 0 or 1 resamples do not vary, so the other end is exact (Clopper & Pearson 1934)."""
    interval = _interval(hits / count if count else 0.0, resampled)
    exact_low = round(float(0.025 ** (1 / count)), 6) if count else 0.0
    if hits == 0:
        return interval.model_copy(update={"high": round(1 - exact_low, 6)})
    return interval.model_copy(update={"low": exact_low}) if hits == count else interval


def _centred_interval(value: float, resampled: list[float]) -> Interval:
    """The interval, shifted to the value: resampling itself adds a calibration error."""
    shift = value - float(np.mean(resampled))
    return _interval(value, [max(0.0, error + shift) for error in resampled])


def evaluate(
    probabilities: Array, labels: Array, names: Sequence[str], statuses: Sequence[str] | None = None
) -> tuple[Metrics, list[LabelMetrics]]:
    """Metrics over all labels and per label, with 95 % bootstrap intervals.

    probabilities (n, classes), labels (n,) as indices. With `statuses` of the answers, also the shares of sure and
    unknown answers and the error rate of sure answers. Percentile bootstrap, 500 seeded resamples (Efron 1979).
    """
    classes, count = len(names), len(labels)
    answers = probabilities.argmax(axis=1)
    confidence, correct = probabilities.max(axis=1), (answers == labels).astype(float)
    losses = log_loss(probabilities, labels)
    generator = np.random.default_rng(SEED)
    resamples = [generator.integers(0, count, count) for _ in range(RESAMPLES)]
    whole = counts_of(labels, answers, classes)
    # One resample at a time: a table of all resamples and examples would take too much memory.
    resampled_counts = [counts_of(labels[chosen], answers[chosen], classes) for chosen in resamples]
    resampled = Counts(*np.swapaxes(np.array(resampled_counts), 0, 1))
    errors = [calibration_error(confidence[chosen], correct[chosen]) for chosen in resamples]
    ideal = ideal_calibration_errors(confidence)
    metrics = Metrics(
        holdout_size=count,
        accuracy=_share_interval(correct.sum(), count, accuracy_of(resampled)),
        macro_f1=_interval(macro_f1_of(whole), macro_f1_of(resampled)),
        log_loss=_interval(losses.mean(), [losses[chosen].mean() for chosen in resamples]),
        calibration_error=_centred_interval(calibration_error(confidence, correct), errors),
        calibration_error_ideal=_interval(float(np.mean(ideal)), ideal),
    )
    if statuses is not None:
        metrics = metrics.model_copy(update=_status_metrics(np.array(statuses), correct, resamples))
    precisions, recalls = (resampled.hits / np.maximum(total, 1) for total in (resampled.predicted, resampled.truth))
    per_class = [
        LabelMetrics(
            label=name,
            support=int(whole.truth[index]),
            precision=_share_interval(whole.hits[index], whole.predicted[index], precisions[:, index]),
            recall=_share_interval(whole.hits[index], whole.truth[index], recalls[:, index]),
        )
        for index, name in enumerate(names)
    ]
    return metrics, per_class


def _status_metrics(statuses: Array, correct: Array, resamples: list[Array]) -> dict[str, Interval]:
    sure, unknown, count = statuses == "sure", statuses == "unknown", len(statuses)
    metrics = {
        "sure_share": _share_interval(sure.sum(), count, [sure[chosen].mean() for chosen in resamples]),
        "unknown_share": _share_interval(unknown.sum(), count, [unknown[chosen].mean() for chosen in resamples]),
    }
    wrong = sure * (1 - correct)
    errors = [wrong[chosen].sum() / sure[chosen].sum() for chosen in resamples if sure[chosen].any()]
    if errors and sure.any():
        metrics["sure_error"] = _share_interval(wrong.sum(), sure.sum(), errors)
    return metrics
