"""Turns a network's outputs into predictions with a status."""

from __future__ import annotations

import numpy as np

from common.inference.contract import Contract, Thresholds
from common.inference.network import Array
from common.json_types import Json

STATUSES = ("sure", "uncertain", "unknown")
# Up to this many numbers, Python rounds faster than numpy, with the same result.
MAX_ROUNDED_IN_PYTHON = 16


def status_of(confidence: float, novelty: float, thresholds: Thresholds) -> str:
    """sure, uncertain (below the confidence threshold; a threshold of 1: never sure) or unknown (too novel)."""
    if not novelty <= thresholds.novelty:  # NaN is unknown too
        return "unknown"
    return "sure" if confidence >= thresholds.sure < 1 else "uncertain"


def statuses(probabilities: Array, novelty: Array, thresholds: Thresholds) -> list[str]:
    """`status_of` for many answers at once: probabilities (n, labels), novelty (n,)."""
    confidence, novelty = probabilities.max(axis=1).astype(np.float64), novelty.astype(np.float64)
    sure = (confidence >= thresholds.sure) & (thresholds.sure < 1)
    texts = np.where(novelty <= thresholds.novelty, np.where(sure, "sure", "uncertain"), "unknown")
    return texts.tolist()  # type: ignore[no-any-return]


def predictions(probabilities: Array, novelty: Array, contract: Contract) -> list[dict[str, Json]]:
    """One prediction per input, as classify answers it."""
    labels, values, thresholds = contract.labels, contract.label_values, contract.thresholds
    answers: list[dict[str, Json]] = []
    rows = zip(probabilities.tolist(), novelty.tolist(), rounded(probabilities), strict=True)
    for exact, row_novelty, shown in rows:
        confidence = max(exact)
        index = exact.index(confidence)
        prediction: dict[str, Json] = {
            "label": values[index],
            "title": labels[index].title,
            "status": status_of(confidence, row_novelty, thresholds),
            "confidence": shown[index],
            "probabilities": dict(zip(values, shown, strict=True)),
        }
        answers.append(prediction)
    return answers


def rounded(probabilities: Array) -> list[list[float]]:
    """Finite probabilities rounded to six decimals, none above 1."""
    if probabilities.size <= MAX_ROUNDED_IN_PYTHON:
        return [[round(min(value, 1.0) * 1e6) / 1e6 for value in row] for row in probabilities.tolist()]
    return np.round(np.minimum(probabilities.astype(np.float64), 1.0), 6).tolist()  # type: ignore[no-any-return]
