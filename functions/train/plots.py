"""Pictures of a version for MLflow: confusion matrix, reliability diagram, learning curves."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from train.metrics import BINS, confusion

matplotlib.use("Agg")


def confusion_figure(probabilities: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Figure:
    """Shares of each true label's examples by answer, counts written in."""
    table = confusion(labels, probabilities.argmax(axis=1), len(names))
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.5 + 0.7 * len(names), 1.5 + 0.6 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        dark = shares[row, column] > 0.5
        axes.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="answer", ylabel="true label", title="Confusion matrix, holdout")
    return figure


def reliability_figure(probabilities: np.ndarray, labels: np.ndarray) -> Figure:
    """Accuracy by confidence; on the diagonal the confidence is honest."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    used = np.flatnonzero(np.bincount(bins, minlength=BINS))
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    axes.plot(
        [confidence[bins == one].mean() for one in used], [correct[bins == one].mean() for one in used], marker="o"
    )
    axes.set(xlabel="confidence", ylabel="accuracy", title="Reliability, holdout", xlim=(0, 1), ylim=(0, 1))
    return figure


def curves_figure(curves: list[dict[str, Any]]) -> Figure:
    """Loss and tune accuracy by epoch."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [point["epoch"] for point in curves]
    for name in ("train_loss", "tune_log_loss"):
        left.plot(epochs, [point[name] for point in curves], label=name.replace("_", " "))
    left.set(xlabel="epoch", title="Loss")
    left.legend()
    right.plot(epochs, [point["tune_accuracy"] for point in curves])
    right.set(xlabel="epoch", title="Accuracy on tune")
    return figure
