"""Evaluates a version on the holdout: metrics for its contract, tables and figures for MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from common.inference.contract import LabelMetrics, Metrics, Thresholds
from common.inference.pictures import View, decode_picture
from common.inference.predictions import statuses
from common.pipelines import Pipeline
from train.retry import RetryPolicy
from train.snapshot import Examples, Split
from train.statistics.metrics import evaluate
from train.tracking.plots import (
    confidence_figure,
    confusion_figure,
    contact_sheet,
    per_class_figure,
    reliability_figure,
)
from train.tracking.run import TrackedRun

MAX_MISTAKES, MAX_PICTURES, PICTURE_SIZE = 50, 24, 128


def evaluate_holdout(
    pipeline: Pipeline,
    examples: Examples,
    answers: tuple[np.ndarray, np.ndarray],
    thresholds: Thresholds,
    run: TrackedRun,
    retry: RetryPolicy,
) -> tuple[Metrics, list[LabelMetrics]]:
    """The contract's metrics of answers (probabilities, novelty) to the holdout; logs them as tables and figures.

    The only pictures that MLflow gets are from the holdout, which never holds pictures that people sent.
    """
    _, labels = examples.of(Split.HOLDOUT)
    names = pipeline.label_values
    probabilities, novelty = answers
    metrics, per_class = evaluate(probabilities, labels, names, statuses(probabilities, novelty, thresholds))
    mistakes = worst_mistakes(examples, probabilities, names)
    figures = {
        "confusion_matrix": confusion_figure(probabilities, labels, names),
        "reliability": reliability_figure(probabilities, labels),
        "per_class": per_class_figure(per_class),
        "confidence": confidence_figure(probabilities, labels, thresholds.sure),
    }
    if pipeline.kind == "image" and mistakes:
        figures["worst_mistakes"] = mistakes_figure(examples, mistakes[:MAX_PICTURES])
    retry(lambda: run.log_table([one.model_dump() for one in per_class], "per_class.json"))
    retry(lambda: run.log_table([one._asdict() for one in mistakes], "worst_mistakes.json"))
    for name, figure in figures.items():
        retry(lambda name=name, figure=figure: run.log_figure(figure, name))  # type: ignore[misc]
    return metrics, per_class


class Mistake(NamedTuple):
    """`example`: its hash; `answer`: the predicted label."""

    example: str
    label: str
    answer: str
    confidence: float


def worst_mistakes(examples: Examples, probabilities: np.ndarray, names: Sequence[str]) -> list[Mistake]:
    """The wrong answers of the holdout with the highest confidence."""
    holdout = np.flatnonzero(examples.splits == Split.HOLDOUT)
    labels = examples.labels[holdout]
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = sorted(np.flatnonzero(answers != labels), key=lambda index: -confidence[index])[:MAX_MISTAKES]
    return [
        Mistake(
            example=examples.hashes[holdout[index]],
            label=names[labels[index]],
            answer=names[answers[index]],
            confidence=round(float(confidence[index]), 4),
        )
        for index in wrong
    ]


def mistakes_figure(examples: Examples, mistakes: list[Mistake]) -> Any:
    """The pictures of those mistakes on one sheet."""
    place = {name: index for index, name in enumerate(examples.hashes)}
    pictures = [decode_picture(examples.inputs[place[one.example]], View(PICTURE_SIZE), None) for one in mistakes]
    captions = [f"{one.label} → {one.answer}\n{one.confidence:.0%} sure" for one in mistakes]
    return contact_sheet(np.stack(pictures), captions)
