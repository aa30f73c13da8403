"""A version on the holdout: metrics into its contract, tables and figures into MLflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from common.network import statuses
from common.pictures import View, decode_picture
from train.judge.metrics import evaluate
from train.report.plots import (
    confidence_figure,
    confusion_figure,
    contact_sheet,
    per_class_figure,
    reliability_figure,
)
from train.report.tracking import Tracking
from train.snapshot import PARTS, Examples

HOLDOUT = PARTS.index("holdout")
MOST_MISTAKES, MOST_PICTURES, PICTURE_SIZE = 50, 24, 128

Wait = Callable[[Callable[[], Any]], Any]


def log_evaluation(
    contract: dict[str, Any],
    examples: Examples,
    answers: tuple[np.ndarray, np.ndarray],
    tracking: Tracking,
    wait: Wait,
) -> dict[str, float]:
    """Metrics of those answers (probabilities, novelty) to the holdout, into the contract and MLflow; the plain ones.

    Pictures that MLflow gets are those of the holdout alone, where what people send never goes.
    """
    _, labels = examples.of(HOLDOUT)
    names = tuple(label["value"] for label in contract["labels"])
    probabilities, novelty = answers
    told = statuses(probabilities, novelty, contract["thresholds"])
    contract["metrics"], contract["per_class"] = evaluate(probabilities, labels, names, told)
    mistakes = worst_mistakes(examples, probabilities, names)
    figures = {
        "confusion_matrix": confusion_figure(probabilities, labels, names),
        "reliability": reliability_figure(probabilities, labels),
        "per_class": per_class_figure(contract["per_class"]),
        "confidence": confidence_figure(probabilities, labels, contract["thresholds"].get("sure")),
    }
    if contract["kind"] == "image" and mistakes:
        figures["worst_mistakes"] = mistakes_figure(examples, mistakes[:MOST_PICTURES])
    wait(lambda: tracking.table(contract["per_class"], "per_class.json"))
    wait(lambda: tracking.table(mistakes, "worst_mistakes.json"))
    for name, figure in figures.items():
        wait(lambda name=name, figure=figure: tracking.figure(figure, name))  # type: ignore[misc]
    return {key: one["value"] for key, one in contract["metrics"].items() if isinstance(one, dict)}


def worst_mistakes(examples: Examples, probabilities: np.ndarray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The surest wrong answers of the holdout, by the example's hash."""
    places = np.flatnonzero(examples.parts == HOLDOUT)
    labels = examples.labels[places]
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = sorted(np.flatnonzero(answers != labels), key=lambda index: -confidence[index])[:MOST_MISTAKES]
    return [
        {
            "example": examples.hashes[places[index]],
            "label": names[labels[index]],
            "answer": names[answers[index]],
            "confidence": round(float(confidence[index]), 4),
        }
        for index in wrong
    ]


def mistakes_figure(examples: Examples, mistakes: list[dict[str, Any]]) -> Any:
    """The pictures of those mistakes on one sheet."""
    place = {name: index for index, name in enumerate(examples.hashes)}
    pictures = [decode_picture(examples.inputs[place[one["example"]]], View(PICTURE_SIZE)) for one in mistakes]
    captions = [f"{one['label']} → {one['answer']}\n{one['confidence']:.0%} sure" for one in mistakes]
    return contact_sheet(np.stack(pictures), captions)
