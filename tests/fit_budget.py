"""Fits whose steps take a known time by a clock of their own; run in a process of its own, since TensorFlow is dear.

Prints one JSON object: of each fit its plan, the seconds it took, the epochs that it saw, and its learning rates.
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

import train.fit.fit
from common.objects import FolderObjects
from conftest import Clock
from train.fit.checkpoint import Checkpoint
from train.fit.fit import Fit

BUDGET_S, STEP_S, TUNE_S, RATE = 8.0, 0.02, 0.05, 1e-3
DIES_AT = 6.0


class Died(Exception):
    pass


class Timed:
    """Batches whose steps take STEP_S, `factor` times that while the clock is `slow` seconds on.

    The first one takes `compiles_s` more.
    """

    epochs, late_share, optimizer = 1000, 0.0, "adamw"
    optimizer, learning_rate, weight_decay, smoothing = "adamw", RATE, 0.0, 0.0
    size = 16

    def __init__(self, clock: Clock, steps: int, factor: float, slow: tuple[float, float], compiles_s: float) -> None:
        self.clock, self.steps, self.factor, self.compiles_s = clock, steps, factor, compiles_s
        self.slow_from, self.slow_to = (clock.now + each for each in slow)
        generator = np.random.default_rng(0)
        self.inputs = generator.normal(size=(16, 4)).astype(np.float32)
        self.labels = (self.inputs[:, 0] > 0).astype(int)

    def planned(self, epochs: int) -> None:
        pass

    def epoch(self, number: int):
        for _ in range(self.steps):
            self.clock.now += STEP_S * (self.factor if self.slow_from <= self.clock.now < self.slow_to else 1)
            self.clock.now, self.compiles_s = self.clock.now + self.compiles_s, 0
            yield (
                keras.ops.convert_to_tensor(self.inputs),
                keras.ops.convert_to_tensor(np.eye(2)[self.labels], "float32"),
            )


def fit(
    folder: Path,
    steps: int = 10,
    factor: float = 1,
    slow: tuple[float, float] = (0, math.inf),
    dies: bool = False,
    budget_s: float = BUDGET_S,
    compiles_s: float = 0,
) -> dict:
    clock = Clock()
    train.fit.fit.time = SimpleNamespace(monotonic=clock, time=time.time)
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    embedding = keras.layers.Dense(3)(inputs)
    model = keras.Model(inputs, [keras.layers.Reshape((1, 2))(keras.layers.Dense(2)(embedding)), embedding])
    batches = Timed(clock, steps, factor, slow, compiles_s)
    checkpoint = Checkpoint(FolderObjects(folder), "jobs/flowers/checkpoints/one/")
    checkpoint.due = lambda: True  # type: ignore[method-assign]
    began, seen, rates = clock.now, [], []

    def on_epoch(done: int, total: int, facts: dict[str, float]) -> None:
        seen.append(done)
        rates.append(float(one.optimizer.learning_rate))
        if dies and clock.now - began > DIES_AT:
            raise Died

    one = Fit(model, batches, (batches.inputs, batches.labels), checkpoint, on_epoch)
    forward = one.forward

    def timed_forward(part):
        clock.now += TUNE_S
        return forward(part)

    one.forward = timed_forward
    try:
        plan = one.run(budget_s)
    except Died:
        plan = checkpoint.plan()
    return {"plan": plan, "took_s": clock.now - began, "seen": seen, "rates": rates, "last_rate": rates[-1]}


def main() -> None:
    home = Path(sys.argv[1])
    found = {
        "steady": fit(home / "steady"),
        "slower": fit(home / "slower", factor=2, slow=(4, math.inf)),
        "few-epochs": fit(home / "few-epochs", steps=100, factor=5, slow=(4, math.inf)),
        "slow-at-first": fit(home / "slow-at-first", factor=1.5, slow=(0, 0.36), budget_s=45),
        "compiles": fit(home / "compiles", compiles_s=9),
        "died": fit(home / "died", dies=True),
        "taken-up": fit(home / "died", factor=3),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
