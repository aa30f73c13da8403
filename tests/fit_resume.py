"""A fit that dies after some epochs and is taken up again; run in a process of its own, since TensorFlow is dear.

Prints one JSON object: the epochs that each of the fits saw, their plans, the curves that they ended with, and what is
left of the checkpoint. One fit is of another network than the state; the last one begins anew, by a plan of before.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from common.objects import FolderObjects
from train.fit.checkpoint import Checkpoint
from train.fit.fit import Fit, predict_both
from train.fit.tabular import TabularBatches, build_tabular, members_for

DIES_AFTER = 3
FORCED = 5


class Died(Exception):
    pass


def fit(folder: Path, dies: bool, members: int = 0) -> tuple[list[int], dict, float, list[int]]:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(600, 4)).astype(np.float32)
    labels = (inputs[:, 0] * inputs[:, 1] > 0).astype(int)
    keras.utils.set_random_seed(1)
    model = build_tabular(4, [], 2, members or members_for(100_000))
    batches = TabularBatches(inputs[:500], labels[:500], 2, seed=1)
    batches.epochs = 8
    checkpoint = Checkpoint(FolderObjects(folder), "jobs/flowers/checkpoints/one/")
    checkpoint.due = lambda: True
    seen: list[int] = []

    def on_epoch(done: int, total: int, facts: dict[str, float]) -> None:
        seen.append(done)
        if dies and done == DIES_AFTER + 1:  # the state after epoch 3 is stored, that of epoch 4 is not
            raise Died

    one = Fit(model, batches, (inputs[500:], labels[500:]), checkpoint, on_epoch)
    try:
        plan = one.run(60)
    except Died:
        return seen, checkpoint.plan(), 0.0, []
    accuracy = float((predict_both(model, inputs[:500])[0].argmax(axis=1) == labels[:500]).mean())
    return seen, plan, accuracy, [point["epoch"] for point in one.curve if point["time"] and point["train_loss"]]


def main() -> None:
    folder = Path(sys.argv[1]) / "store"
    first_seen, first_plan, _, _ = fit(folder, dies=True)
    second_seen, second_plan, accuracy, curve = fit(folder, dies=False)
    ended_seen, _, _, ended_curve = fit(folder, dies=False)
    other_seen, other_plan, _, _ = fit(folder, dies=False, members=3)
    checkpoint = Checkpoint(FolderObjects(folder), "jobs/flowers/checkpoints/one/")
    checkpoint.clear()
    left = list(FolderObjects(folder).list("jobs/"))
    checkpoint.save_plan({**second_plan, "epochs": FORCED})
    forced_seen, _, _, _ = fit(folder, dies=False)
    found = {"first": first_seen, "second": second_seen, "plans": [first_plan, second_plan], "forced": forced_seen}
    found |= {"other": other_seen, "plan": other_plan}
    found |= {"ended": ended_seen, "curves": [curve, ended_curve]}
    print(json.dumps({**found, "accuracy": accuracy, "left": left}))


if __name__ == "__main__":
    main()
