"""Fits whose steps take a known time on a simulated clock; runs as its own process, since TensorFlow is slow to load.

Prints one JSON object: for each fit its plan, the seconds it took, its epochs and its learning rates.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np

import train.fit.training_loop
from common.storage.folder import FolderStore
from conftest import Clock
from train.fit.checkpoint import Checkpoint
from train.fit.training_loop import Fit

BUDGET_S, STEP_S, TUNE_S, RATE = 8.0, 0.02, 0.05, 1e-3
CRASH_S = 6.0


class Crash(Exception):
    pass


class TimedBatches:
    """Batches whose steps take STEP_S, or `factor` times as long during the seconds `slow` of the fit.

    The first step takes `compile_s` more.
    """

    max_epochs, late_share = 1000, 0.0
    optimizer, learning_rate, weight_decay, smoothing = "adamw", RATE, 0.0, 0.0
    batch_size = 16

    def __init__(self, clock: Clock, steps: int, factor: float, slow: tuple[float, float], compile_s: float) -> None:
        self.clock, self.steps_per_epoch, self.factor, self.compile_s = clock, steps, factor, compile_s
        self.slow_from, self.slow_to = (clock.now + seconds for seconds in slow)
        generator = np.random.default_rng(0)
        self.inputs = generator.normal(size=(16, 4)).astype(np.float32)
        self.labels = (self.inputs[:, 0] > 0).astype(int)

    def set_epochs(self, epochs: int) -> None:
        pass

    def epoch(self, number: int):
        for _ in range(self.steps_per_epoch):
            self.clock.now += STEP_S * (self.factor if self.slow_from <= self.clock.now < self.slow_to else 1)
            self.clock.now, self.compile_s = self.clock.now + self.compile_s, 0
            yield (
                keras.ops.convert_to_tensor(self.inputs),
                keras.ops.convert_to_tensor(np.eye(2)[self.labels], "float32"),
            )


def fit(
    folder: Path,
    steps: int = 10,
    factor: float = 1,
    slow: tuple[float, float] = (0, math.inf),
    crashes: bool = False,
    budget_s: float = BUDGET_S,
    compile_s: float = 0,
) -> dict:
    clock = Clock()
    train.fit.training_loop.time = SimpleNamespace(monotonic=clock, time=time.time)
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    embedding = keras.layers.Dense(3)(inputs)
    model = keras.Model(inputs, [keras.layers.Reshape((1, 2))(keras.layers.Dense(2)(embedding)), embedding])
    batches = TimedBatches(clock, steps, factor, slow, compile_s)
    checkpoint = Checkpoint(FolderStore(folder), "flowers", "one")
    checkpoint.is_due = lambda: True  # type: ignore[method-assign]
    began, epochs, rates = clock.now, [], []

    def on_epoch(done: int, total: int, metrics: dict[str, float]) -> None:
        epochs.append(done)
        rates.append(float(running.optimizer.learning_rate))
        if crashes and clock.now - began > CRASH_S:
            raise Crash

    running = Fit(model, batches, (batches.inputs, batches.labels), checkpoint, on_epoch)
    forward = running.forward

    def timed_forward(chunk):
        clock.now += TUNE_S
        return forward(chunk)

    running.forward = timed_forward
    try:
        plan = running.run(budget_s)
    except Crash:
        plan = checkpoint.plan()
    facts = plan.model_dump()
    return {"plan": facts, "took_s": clock.now - began, "seen": epochs, "rates": rates, "last_rate": rates[-1]}


def main() -> None:
    home = Path(sys.argv[1])
    results = {
        "steady": fit(home / "steady"),
        "slower": fit(home / "slower", factor=2, slow=(4, math.inf)),
        "few-epochs": fit(home / "few-epochs", steps=100, factor=5, slow=(4, math.inf)),
        "slow-at-first": fit(home / "slow-at-first", factor=1.5, slow=(0, 0.36), budget_s=45),
        "compiles": fit(home / "compiles", compile_s=9),
        "died": fit(home / "died", crashes=True),
        "taken-up": fit(home / "died", factor=3),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
