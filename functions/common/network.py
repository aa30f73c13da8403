"""Runs a bundle's exported network with LiteRT and turns its outputs into predictions. No TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
CHUNK = 256


class Network:
    """A float32 TFLite network with outputs `probabilities` (n, labels) and `novelty` (n,).

    The interpreter can't be shared between threads: calls wait for each other.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        # 0.1 s to import: a process that has no model yet does without.
        from ai_edge_litert.interpreter import Interpreter

        self._lock = threading.Lock()
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._runner = self._interpreter.get_signature_runner("serving_default")
        self._input = next(iter(self._runner.get_input_details()))

    def predict(self, inputs: Array) -> tuple[Array, Array]:
        """Float32 inputs (n, ...) -> probabilities (n, labels) and novelty (n,), in chunks of bounded memory."""
        probabilities, novelty = [], []
        for start in range(0, len(inputs), CHUNK):
            part = np.ascontiguousarray(inputs[start : start + CHUNK], dtype=np.float32)
            with self._lock:
                answer = self._runner(**{self._input: part})
            probabilities.append(answer["probabilities"].copy())
            novelty.append(answer["novelty"].reshape(-1).copy())
        return np.concatenate(probabilities), np.concatenate(novelty)


def status_of(confidence: float, novelty: float, thresholds: Mapping[str, float]) -> str:
    """sure, uncertain (below the tuned threshold; 1 is reached by none) or unknown (farther off than tune is)."""
    if not novelty <= thresholds["novelty"]:  # so that NaN is unknown too
        return "unknown"
    return "sure" if confidence >= thresholds["sure"] < 1 else "uncertain"


def statuses(probabilities: Array, novelty: Array, thresholds: Mapping[str, float]) -> list[str]:
    """The status of each answer: probabilities (n, labels), novelty (n,)."""
    best = probabilities.max(axis=1)
    return [status_of(float(one), float(far), thresholds) for one, far in zip(best, novelty, strict=True)]


def predictions(probabilities: Array, novelty: Array, contract: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answer's predictions, one dict an input."""
    labels: Sequence[Mapping[str, str]] = contract["labels"]
    found = []
    for row, strangeness in zip(probabilities, novelty, strict=True):
        best = int(np.argmax(row))
        found.append(
            {
                "label": labels[best]["value"],
                "title": {"en": labels[best]["en"], "es": labels[best]["es"]},
                "status": status_of(float(row[best]), float(strangeness), contract["thresholds"]),
                "confidence": round(min(1.0, float(row[best])), 6),
                "probabilities": {
                    label["value"]: round(min(1.0, float(p)), 6) for label, p in zip(labels, row, strict=True)
                },
            }
        )
    return found
