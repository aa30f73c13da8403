"""Runs a bundle's exported network with LiteRT and turns its outputs into predictions. No TensorFlow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Rows that the network takes at once: fewer keep its layers in a core's cache, more need Python's lock less often.
# Pictures go one by one.
CHUNK = 128
STATUSES = ("sure", "uncertain", "unknown")
# Numbers that are rounded sooner in Python than by numpy, in the same way.
FEW = 16


class Network:
    """A float32 TFLite network with outputs `probabilities` (n, labels), `novelty` (n,) and, of pictures, `heat`.

    An interpreter can't be shared between threads: each call takes an idle one, or makes one more.
    """

    def __init__(self, path: Path | bytes) -> None:
        self._model = path if isinstance(path, bytes) else path.read_bytes()
        self._idle: deque[_Interpreter] = deque([_Interpreter(self._model)])
        self.outputs = frozenset(self._idle[0].outputs)
        self.chunk = CHUNK if self._idle[0].rank == 2 else 1

    def run(self, inputs: Array) -> dict[str, Array]:
        """Float32 inputs (n, ...), all at once -> every output by its name."""
        try:
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = _Interpreter(self._model)
        try:
            return interpreter.run(np.ascontiguousarray(inputs, dtype=np.float32))
        finally:
            self._idle.append(interpreter)

    def predict(self, inputs: Array) -> tuple[Array, Array]:
        """Float32 inputs (n, ...) -> probabilities (n, labels) and novelty (n,), in chunks of bounded memory."""
        if len(inputs) <= self.chunk:
            return _answers(self.run(inputs))
        parts = list(self.predict_parts(inputs))
        return np.concatenate([one[0] for one in parts]), np.concatenate([one[1] for one in parts])

    def predict_parts(self, inputs: Array) -> Iterator[tuple[Array, Array]]:
        """The same, chunk by chunk."""
        for start in range(0, len(inputs), self.chunk):
            yield _answers(self.run(inputs[start : start + self.chunk]))


class _Interpreter:
    """LiteRT's interpreter with one thread; its tensors stay as they are while the number of inputs does."""

    def __init__(self, model: bytes) -> None:
        # 0.1 s to import: a process that has no model yet does without.
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=model, num_threads=1)
        runner = self._interpreter.get_signature_runner("serving_default")
        self._input = self._interpreter.get_input_details()[0]["index"]
        self.outputs = {name: int(one["index"]) for name, one in runner.get_output_details().items()}
        shape = self._interpreter.get_input_details()[0]["shape_signature"]
        self.rank, self._shape = len(shape), ()

    def run(self, inputs: Array) -> dict[str, Array]:
        if inputs.shape != self._shape:
            self._shape = ()
            self._interpreter.resize_tensor_input(self._input, inputs.shape)
            self._interpreter.allocate_tensors()
            self._shape = inputs.shape
        self._interpreter.set_tensor(self._input, inputs)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(index) for name, index in self.outputs.items()}


def _answers(outputs: Mapping[str, Array]) -> tuple[Array, Array]:
    return outputs["probabilities"], outputs["novelty"].reshape(-1)


def status_of(confidence: float, novelty: float, thresholds: Mapping[str, float]) -> str:
    """sure, uncertain (below the tuned threshold; 1 is reached by none) or unknown (farther off than known inputs)."""
    if not novelty <= thresholds["novelty"]:  # so that NaN is unknown too
        return "unknown"
    return "sure" if confidence >= thresholds["sure"] < 1 else "uncertain"


def statuses(probabilities: Array, novelty: Array, thresholds: Mapping[str, float]) -> list[str]:
    """`status_of` of many answers at once: probabilities (n, labels), novelty (n,)."""
    best, far = probabilities.max(axis=1).astype(np.float64), novelty.astype(np.float64)
    sure = (best >= thresholds["sure"]) & (thresholds["sure"] < 1)
    told = np.where(far <= thresholds["novelty"], np.where(sure, "sure", "uncertain"), "unknown")
    return told.tolist()  # type: ignore[no-any-return]


def predictions(probabilities: Array, novelty: Array, contract: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answer's predictions, one dict an input."""
    labels: Sequence[Mapping[str, str]] = contract["labels"]
    values, found = [label["value"] for label in labels], []
    for row, far, shares in zip(probabilities.tolist(), novelty.tolist(), rounded(probabilities), strict=True):
        confidence = max(row)
        place = row.index(confidence)
        prediction = {
            "label": values[place],
            "title": {"en": labels[place]["en"], "es": labels[place]["es"]},
            "status": status_of(confidence, far, contract["thresholds"]),
            "confidence": shares[place],
            "probabilities": dict(zip(values, shares, strict=True)),
        }
        found.append(prediction)
    return found


def rounded(probabilities: Array) -> list[list[float]]:
    """Finite probabilities as they are told: to six places, none above 1."""
    if probabilities.size <= FEW:
        return [[round(min(share, 1.0) * 1e6) / 1e6 for share in row] for row in probabilities.tolist()]
    return np.round(np.minimum(probabilities.astype(np.float64), 1.0), 6).tolist()  # type: ignore[no-any-return]
