"""Scores predictions from their files, so that anyone can score them again. Pure numpy."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from train.statistics import metrics as statistics

METRICS = ("accuracy", "macro_f1", "log_loss", "ece")
RESAMPLES, SEED = 500, 17
COLUMN = "p_"
Scored = tuple[np.ndarray, np.ndarray]  # probabilities (n, labels) and labels (n,) as indices
Intervals = dict[str, tuple[float, float, float]]  # by metric: the value, and its 95 % interval


def write_predictions(
    path: Path, names: Sequence[str], labels: np.ndarray, probabilities: np.ndarray, values: Sequence[str]
) -> None:
    """One row per example: name, label, answer, and the probability of each label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["example", "label", "answer", *(COLUMN + value for value in values)])
        for name, label, row in zip(names, labels, probabilities, strict=True):
            # Nine digits identify every float32.
            writer.writerow([name, values[label], values[int(row.argmax())], *(f"{share:.9g}" for share in row)])


def read_predictions(path: Path) -> Scored:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        index = {name.removeprefix(COLUMN): place for place, name in enumerate(next(reader)[3:])}
        rows = list(reader)
    labels = np.array([index[row[1]] for row in rows], dtype=np.int64)
    return np.array([row[3:] for row in rows], dtype=np.float64), labels


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The four metrics, and `ece_ideal`: the calibration error of a perfectly calibrated model on as many examples."""
    metrics = dict(zip(METRICS, _metrics(probabilities, labels), strict=True))
    return {**metrics, "ece_ideal": float(np.mean(statistics.ideal_calibration_errors(probabilities.max(axis=1))))}


def means_with_intervals(seeds: Sequence[Scored]) -> Intervals:
    """Means over the seeds. Intervals resample the examples, which the seeds share."""
    return _intervals(_resampled(seeds))


def differences(ours: Sequence[Scored], peer: Sequence[Scored]) -> Intervals:
    """Ours minus the peer's, on the same resamples."""
    return _intervals(_resampled(ours) - _resampled(peer))


def _metrics(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    counts = statistics.counts_of(labels, answers, probabilities.shape[1])
    error = statistics.calibration_error(confidence, (answers == labels).astype(float))
    return (
        float(statistics.accuracy_of(counts)),
        float(statistics.macro_f1_of(counts)),
        float(statistics.log_loss(probabilities, labels).mean()),
        error,
    )


def _resampled(seeds: Sequence[Scored]) -> np.ndarray:
    """Means over the seeds (1 + resamples, metrics): first of all examples, then of each resample."""
    generator = np.random.default_rng(SEED)
    count = len(seeds[0][1])
    draws = [np.arange(count), *(generator.integers(0, count, count) for _ in range(RESAMPLES))]
    metrics = [[_metrics(probabilities[draw], labels[draw]) for draw in draws] for probabilities, labels in seeds]
    return np.array(metrics).mean(axis=0)


def _intervals(values: np.ndarray) -> Intervals:
    low, high = np.quantile(values[1:], [0.025, 0.975], axis=0)
    return {
        metric: (value, lower, upper) for metric, value, lower, upper in zip(METRICS, values[0], low, high, strict=True)
    }
