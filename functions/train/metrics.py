"""Metrics of a classifier with bootstrap intervals. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

RESAMPLES, SIMULATED = 500, 200
BINS = 15
SEED = 11

Array = np.ndarray[Any, Any]


def confusion(labels: Array, answers: Array, classes: int, weights: Array | None = None) -> Array:
    """Counts (classes, classes): rows are true labels, columns the answers."""
    flat = np.bincount(labels * classes + answers, weights=weights, minlength=classes * classes)
    return flat.reshape(classes, classes)


def accuracy_of(tables: Array) -> Any:
    """The share of right answers: one number a table of (..., classes, classes)."""
    return np.trace(tables, axis1=-2, axis2=-1) / np.maximum(tables.sum(axis=(-2, -1)), 1e-12)


def macro_f1_of(tables: Array) -> Any:
    """Mean F1 over the labels that occur, in truth or among the answers: one number a table."""
    both = tables.sum(axis=-1) + tables.sum(axis=-2)
    hits = 2.0 * np.diagonal(tables, axis1=-2, axis2=-1)
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


def _interval(value: float, resampled: list[float]) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"value": round(float(value), 6), "low": round(float(low), 6), "high": round(float(high), 6)}


def _share_interval(hits: float, count: float, resampled: list[float]) -> dict[str, float]:
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
    tables = [confusion(labels[chosen], answers[chosen], classes) for chosen in picks]
    gaps = [calibration_error(confidence[chosen], correct[chosen]) for chosen in picks]
    ideal = ideal_calibration_errors(confidence)
    table = confusion(labels, answers, classes)
    metrics = {
        "holdout_size": count,
        "accuracy": _share_interval(correct.sum(), count, [accuracy_of(one) for one in tables]),
        "macro_f1": _interval(macro_f1_of(table), [macro_f1_of(one) for one in tables]),
        "log_loss": _interval(losses.mean(), [losses[chosen].mean() for chosen in picks]),
        "calibration_error": _centred_interval(calibration_error(confidence, correct), gaps),
        "calibration_error_ideal": _interval(float(np.mean(ideal)), ideal),
    }
    if statuses is not None:
        metrics |= _status_figures(np.array(statuses), correct, picks)
    per_class = [
        {
            "label": name,
            "support": int(table[index].sum()),
            "precision": _figure(table, tables, index, 0),
            "recall": _figure(table, tables, index, 1),
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


def _figure(table: Array, tables: list[Array], index: int, axis: int) -> dict[str, float]:
    return _share_interval(
        table[index, index], table.sum(axis=axis)[index], [_share(one, index, axis) for one in tables]
    )


def _share(table: Array, index: int, axis: int) -> float:
    return float(table[index, index] / max(table.sum(axis=axis)[index], 1))
