"""Scores of predictions as they stand in their files, so that anyone can score them again. Pure numpy."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from train.judge.metrics import accuracy_of, calibration_error, counts_of, log_loss, macro_f1_of

METRICS = ("accuracy", "macro_f1", "log_loss", "ece")
RESAMPLES, SIMULATED, SEED = 500, 200, 17
COLUMN = "p_"
Scored = tuple[np.ndarray, np.ndarray]


def write_predictions(
    path: Path, names: Sequence[str], labels: np.ndarray, probabilities: np.ndarray, values: Sequence[str]
) -> None:
    """A row an example: its identity, its label, the answer, and the probability of each label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["example", "label", "answer", *(COLUMN + value for value in values)])
        for name, label, row in zip(names, labels, probabilities, strict=True):
            # Nine digits tell every float32.
            writer.writerow([name, values[label], values[int(row.argmax())], *(f"{one:.9g}" for one in row)])


def read_predictions(path: Path) -> Scored:
    """Probabilities (n, labels) and labels (n,) as indices."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        values = [name.removeprefix(COLUMN) for name in next(reader)[3:]]
        rows = list(reader)
    index = {value: place for place, value in enumerate(values)}
    labels = np.array([index[row[1]] for row in rows], dtype=np.int64)
    return np.array([row[3:] for row in rows], dtype=np.float64), labels


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The four metrics, and `ece_ideal`: the calibration error of one whose confidence is right, at this number."""
    counts = counts_of(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    confidence, correct = _sureness(probabilities, labels)
    return {
        "accuracy": accuracy_of(counts),
        "macro_f1": macro_f1_of(counts),
        "log_loss": float(log_loss(probabilities, labels).mean()),
        "ece": calibration_error(confidence, correct),
        "ece_ideal": ideal_error(confidence),
    }


def ideal_error(confidence: np.ndarray) -> float:
    """Mean calibration error of outcomes that are drawn with the chances that the confidences tell."""
    generator = np.random.default_rng(SEED)
    drawn = (generator.random(len(confidence)) < confidence for _ in range(SIMULATED))
    return float(np.mean([calibration_error(confidence, one.astype(float)) for one in drawn]))


def means_with_intervals(seeds: Sequence[Scored]) -> dict[str, tuple[float, float, float]]:
    """Mean over the seeds of each metric, and its 95 % interval by resampling the examples, which the seeds share."""
    return _with_intervals([_resampled(seeds)])


def differences(ours: Sequence[Scored], peer: Sequence[Scored]) -> dict[str, tuple[float, float, float]]:
    """The same of ours less the peer's, on the same resamples."""
    return _with_intervals([_resampled(ours), _resampled(peer)])


def _with_intervals(found: list[dict[str, np.ndarray]]) -> dict[str, tuple[float, float, float]]:
    told = {}
    for metric in METRICS:
        values = found[0][metric] - (found[1][metric] if len(found) > 1 else 0.0)
        low, high = np.quantile(values[1:], [0.025, 0.975])
        told[metric] = (float(values[0]), float(low), float(high))
    return told


def _resampled(seeds: Sequence[Scored]) -> dict[str, np.ndarray]:
    """Each metric as a mean over the seeds: of all examples first, then of each resample of them."""
    generator = np.random.default_rng(SEED)
    count = len(seeds[0][1])
    picks = [np.arange(count), *(generator.integers(0, count, count) for _ in range(RESAMPLES))]
    found = np.mean([_of_picks(*one, picks) for one in seeds], axis=0)
    return dict(zip(METRICS, found.T, strict=True))


def _of_picks(probabilities: np.ndarray, labels: np.ndarray, picks: Sequence[np.ndarray]) -> list[tuple[float, ...]]:
    classes, answers = probabilities.shape[1], probabilities.argmax(axis=1)
    confidence, correct = _sureness(probabilities, labels)
    losses = log_loss(probabilities, labels)
    found: list[tuple[float, ...]] = []
    for chosen in picks:
        counts = counts_of(labels[chosen], answers[chosen], classes)
        error = calibration_error(confidence[chosen], correct[chosen])
        found.append((accuracy_of(counts), macro_f1_of(counts), float(losses[chosen].mean()), error))
    return found


def _sureness(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The confidence of each answer, and 1.0 where it is right."""
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(float)
