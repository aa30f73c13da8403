"""Runs a bundle's exported network with LiteRT. Needs no TensorFlow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Rows in one run of the network. Fewer rows fit into the CPU cache, more rows take Python's lock less often.
# Pictures run one at a time.
ROWS_PER_RUN = 128


class Network:
    """A float32 TFLite network with outputs `probabilities` (n, labels), `novelty` (n,) and, for pictures, `heat`.

    Threads can't share an interpreter: each call takes an idle one or creates a new one.
    """

    def __init__(self, model: Path | bytes) -> None:
        self._model = model if isinstance(model, bytes) else model.read_bytes()
        self._idle: deque[_Interpreter] = deque([_Interpreter(self._model)])
        self.outputs = frozenset(self._idle[0].outputs)
        self.chunk = ROWS_PER_RUN if self._idle[0].rank == 2 else 1

    def run(self, inputs: Array) -> dict[str, Array]:
        """Float32 inputs (n, ...) -> all outputs by name, in one run."""
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
        probabilities, novelty = zip(*self.predict_chunks(inputs), strict=True)
        return np.concatenate(probabilities), np.concatenate(novelty)

    def predict_chunks(self, inputs: Array) -> Iterator[tuple[Array, Array]]:
        """Like `predict`, chunk by chunk."""
        for start in range(0, len(inputs), self.chunk):
            yield _answers(self.run(inputs[start : start + self.chunk]))


class _Interpreter:
    """A single-threaded LiteRT interpreter. It reallocates its tensors only if the shape of the inputs changes."""

    def __init__(self, model: bytes) -> None:
        # The import takes 0.1 s, which a process without a model saves.
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=model, num_threads=1)
        runner = self._interpreter.get_signature_runner("serving_default")
        self._input = self._interpreter.get_input_details()[0]["index"]
        self.outputs = {name: int(output["index"]) for name, output in runner.get_output_details().items()}
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
