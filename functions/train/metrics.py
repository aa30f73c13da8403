"""Metrics of a classifier with bootstrap intervals. Pure numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

RESAMPLES = 500
BINS = 15
SEED = 11

Array = np.ndarray[Any, Any]


def confusion(labels: Array, answers: Array, classes: int, weights: Array | None = None) -> Array:
    """Counts (classes, classes): rows are true labels, columns the answers."""
    flat = np.bincount(labels * classes + answers, weights=weights, minlength=classes * classes)
    return flat.reshape(classes, classes)


def accuracy_of(table: Array) -> float:
    return float(np.trace(table) / max(table.sum(), 1e-12))


def macro_f1_of(table: Array) -> float:
    """Mean F1 over the labels that occur, in truth or among the answers."""
    true, said = table.sum(axis=1), table.sum(axis=0)
    present = (true + said) > 0
    scores = 2 * np.diag(table)[present] / (true + said)[present]
    return float(scores.mean()) if present.any() else 0.0


METRICS = {"accuracy": accuracy_of, "macro_f1": macro_f1_of}


def log_loss(probabilities: Array, labels: Array) -> Array:
    """-log of the probability of the true label, one an example."""
    return -np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1))


def calibration_error(confidence: Array, correct: Array) -> float:
    """Expected calibration error, 15 equal-width bins (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(bins, correct - confidence, minlength=BINS))
    return float(gaps.sum() / len(confidence))


def _interval(value: float, resampled: list[float]) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"value": round(value, 6), "low": round(float(low), 6), "high": round(float(high), 6)}


def evaluate(
    probabilities: Array, labels: Array, names: tuple[str, ...]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics and per-class figures, each {"value", "low", "high"} with the 95 % bootstrap interval.

    probabilities (n, classes), labels (n,) as indices. Percentile bootstrap, 500 resamples (Efron 1979), seeded.
    """
    classes, count = len(names), len(labels)
    answers = probabilities.argmax(axis=1)
    confidence, correct = probabilities.max(axis=1), (answers == labels).astype(float)
    losses = log_loss(probabilities, labels)
    generator = np.random.default_rng(SEED)
    tables, loss, gaps = [], [], []
    for _ in range(RESAMPLES):
        chosen = generator.integers(0, count, count)
        tables.append(confusion(labels[chosen], answers[chosen], classes))
        loss.append(float(losses[chosen].mean()))
        gaps.append(calibration_error(confidence[chosen], correct[chosen]))
    table = confusion(labels, answers, classes)
    metrics = {
        "holdout_size": count,
        "accuracy": _interval(accuracy_of(table), [accuracy_of(one) for one in tables]),
        "macro_f1": _interval(macro_f1_of(table), [macro_f1_of(one) for one in tables]),
        "log_loss": _interval(float(losses.mean()), loss),
        "calibration_error": _interval(calibration_error(confidence, correct), gaps),
    }
    per_class = [
        {
            "label": name,
            "support": int(table[index].sum()),
            "precision": _interval(_share(table, index, 0), [_share(one, index, 0) for one in tables]),
            "recall": _interval(_share(table, index, 1), [_share(one, index, 1) for one in tables]),
        }
        for index, name in enumerate(names)
    ]
    return metrics, per_class


def _share(table: Array, index: int, axis: int) -> float:
    return float(table[index, index] / max(table.sum(axis=axis)[index], 1))
