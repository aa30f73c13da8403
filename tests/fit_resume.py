"""A fit that crashes after some epochs and is resumed; runs as its own process, since TensorFlow is slow to load.

Prints one JSON object: the epochs that each fit ran, their plans and learning curves, and the remaining keys of the
checkpoint. One fit has another network than the stored state; the last one starts over with a stored plan.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from common.storage.folder import FolderStore
from train.fit.checkpoint import Checkpoint, FitPlan
from train.fit.tabular import TabularBatches, build_tabular, members_for
from train.fit.training_loop import Fit, predict_joined

LAST_SAVED_EPOCH = 3
FORCED_EPOCHS = 5


class Crash(Exception):
    pass


class Result(NamedTuple):
    """`epochs`: those that `on_epoch` received; `curve`: the epochs of the learning curve."""

    epochs: list[int]
    plan: FitPlan | None
    accuracy: float = 0.0
    curve: list[int] = []


def fit(folder: Path, crashes: bool = False, members: int = 0) -> Result:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(600, 4)).astype(np.float32)
    labels = (inputs[:, 0] * inputs[:, 1] > 0).astype(int)
    keras.utils.set_random_seed(1)
    model = build_tabular(4, [], 2, members or members_for(100_000))
    batches = TabularBatches(inputs[:500], labels[:500], 2, seed=1)
    batches.max_epochs = 8
    checkpoint = Checkpoint(FolderStore(folder), "flowers", "one")
    checkpoint.is_due = lambda: True
    epochs: list[int] = []

    def on_epoch(done: int, total: int, metrics: dict[str, float]) -> None:
        epochs.append(done)
        if crashes and done == LAST_SAVED_EPOCH + 1:  # the state after epoch 3 is saved, that of epoch 4 is not
            raise Crash

    running = Fit(model, batches, (inputs[500:], labels[500:]), checkpoint, on_epoch)
    try:
        plan = running.run(60)
    except Crash:
        return Result(epochs, checkpoint.plan())
    accuracy = float((predict_joined(model, inputs[:500])[0].argmax(axis=1) == labels[:500]).mean())
    curve = [point["epoch"] for point in running.curve if point["time"] and point["train_loss"]]
    return Result(epochs, plan, accuracy, curve)


def main() -> None:
    folder = Path(sys.argv[1]) / "store"
    crashed = fit(folder, crashes=True)
    resumed = fit(folder)
    after_the_end = fit(folder)
    other_network = fit(folder, members=3)
    checkpoint = Checkpoint(FolderStore(folder), "flowers", "one")
    checkpoint.clear()
    remaining_keys = list(FolderStore(folder).list("jobs/"))
    checkpoint.save_plan(resumed.plan.model_copy(update={"epochs": FORCED_EPOCHS}))
    forced = fit(folder)
    results = {
        "crashed": crashed,
        "resumed": resumed,
        "after_the_end": after_the_end,
        "other_network": other_network,
        "forced": forced,
    }
    plain = {name: {**result._asdict(), "plan": result.plan.model_dump()} for name, result in results.items()}
    print(json.dumps({**plain, "remaining_keys": remaining_keys}))


if __name__ == "__main__":
    main()
