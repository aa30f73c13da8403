"""Figures of a version for MLflow: confusion, reliability, learning curves, confidence, worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from common.inference.contract import LabelMetrics
from train.statistics.metrics import BINS, confusion

matplotlib.use("Agg")
# With more labels the matrix shows no counts, since they would overlap.
MAX_LABELS_WITH_COUNTS = 30
MAX_NAME = 18
RIGHT, WRONG = "#2a78d6", "#e34948"
BLUE = "#2a78d6"
SHEET_COLUMNS = 6

Array = np.ndarray[Any, Any]


def confusion_figure(probabilities: Array, labels: Array, names: Sequence[str]) -> Figure:
    """The confusion matrix: colours are shares of each true label, numbers are counts."""
    table = confusion(labels, probabilities.argmax(axis=1), len(names))
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = 0.6 if len(names) <= MAX_LABELS_WITH_COUNTS else 0.16
    figure = Figure(figsize=(2.5 + (side + 0.1) * len(names), 2 + side * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table) if len(names) <= MAX_LABELS_WITH_COUNTS else ():
        dark = shares[row, column] > 0.5
        axes.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    size = 10 if len(names) <= MAX_LABELS_WITH_COUNTS else 7
    shown = [_short(name) for name in names]
    axes.set_xticks(
        range(len(names)), shown, rotation=90 if len(names) > MAX_LABELS_WITH_COUNTS else 45, ha="right", fontsize=size
    )
    axes.set_yticks(range(len(names)), shown, fontsize=size)
    axes.set(xlabel="answer", ylabel="true label", title=f"Holdout: {len(labels)} examples")
    return figure


def reliability_figure(probabilities: Array, labels: Array) -> Figure:
    """Accuracy by confidence (the diagonal is perfect calibration); below, a histogram of the confidence."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    non_empty = np.flatnonzero(counts)
    figure = Figure(figsize=(5, 6.5), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    mean_confidence = [confidence[bins == index].mean() for index in non_empty]
    accuracy = [correct[bins == index].mean() for index in non_empty]
    axes.plot(mean_confidence, accuracy, marker="o", color=BLUE)
    axes.set(ylabel="accuracy", title="Reliability, holdout", xlim=(0, 1), ylim=(0, 1.02))
    below.bar((np.arange(BINS) + 0.5) / BINS, counts, width=0.9 / BINS, color=BLUE)
    below.set(xlabel="confidence", ylabel="answers")
    return figure


def curves_figure(curves: Sequence[Mapping[str, float]]) -> Figure:
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


def per_class_figure(per_class: Sequence[LabelMetrics]) -> Figure:
    """Precision and recall of each label with 95 % intervals, the lowest recall on top."""
    ordered = sorted(per_class, key=lambda label: -label.recall.value)
    step = 0.45 if len(ordered) <= MAX_LABELS_WITH_COUNTS else 0.2
    figure = Figure(figsize=(7, 1.6 + step * len(ordered)), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(ordered))
    for name, shift, colour in (("precision", 0.2, "#eda100"), ("recall", -0.2, BLUE)):
        intervals = [label.recall if name == "recall" else label.precision for label in ordered]
        values = np.array([interval.value for interval in intervals])
        bounds = np.array([[interval.low, interval.high] for interval in intervals])
        error_bars = np.abs(bounds.T - values)
        axes.barh(positions + shift, values, 0.36, color=colour, label=name)
        axes.errorbar(values, positions + shift, xerr=error_bars, fmt="none", ecolor="#333333", elinewidth=1, capsize=2)
    size = 10 if len(ordered) <= MAX_LABELS_WITH_COUNTS else 7
    axes.set_yticks(positions, [f"{_short(label.label)} ({label.support})" for label in ordered], fontsize=size)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(ordered) - 0.4), title="By label (examples in the holdout)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def confidence_figure(probabilities: Array, labels: Array, sure: float | None) -> Figure:
    """Histograms of the confidence of right and wrong answers. `sure`: the confidence from which an answer is sure."""
    sure = None if sure is None or sure >= 1 else sure  # a threshold of 1: no answer is sure
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, chosen, name, colour in ((above, correct, "right", RIGHT), (below, ~correct, "wrong", WRONG)):
        axes.hist(confidence[chosen], bins=25, range=(0, 1), color=colour, rwidth=0.9)
        axes.set(ylabel="answers", xlim=(0, 1))
        axes.set_title(f"{name}: {int(chosen.sum())}", loc="left", fontsize=10)
        if sure is not None:
            axes.axvline(sure, color="#333333", linestyle="--", linewidth=1)
    if sure is not None:
        position = (sure, 1.02) if sure < 0.85 else (sure - 0.001, 1.02)
        above.annotate(f"sure from {sure:.2f}", position, xycoords=("data", "axes fraction"), ha="right", fontsize=9)
    below.set(xlabel="confidence")
    figure.suptitle("Confidence of right and wrong answers, holdout")
    return figure


def contact_sheet(pictures: Array, captions: Sequence[str]) -> Figure:
    """Pictures uint8 (n, h, w, 3) in rows of six, with captions."""
    rows = -(-len(pictures) // SHEET_COLUMNS)
    figure = Figure(figsize=(2 * SHEET_COLUMNS, 0.6 + 2.45 * rows), layout="constrained")
    for index, axes in enumerate(figure.subplots(rows, SHEET_COLUMNS, squeeze=False).flat):
        axes.axis("off")
        if index < len(pictures):
            axes.imshow(pictures[index])
            axes.set_title(captions[index], fontsize=8)
    figure.suptitle("Wrong answers with the highest confidence, holdout: true label → answer")
    return figure


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
