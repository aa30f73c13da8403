"""A fit that dies after some epochs and is taken up again; run in a process of its own, since TensorFlow is dear.

Prints one JSON object: the epochs that each of the two fits saw, their plans, and what is left of the checkpoint.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from common.objects import FolderObjects
from train.fit import Checkpoint, Fit, predict_both
from train.tabular import TabularBatches, build_tabular, members_for

DIES_AFTER = 3


class Died(Exception):
    pass


def fit(folder: Path, dies: bool) -> tuple[list[int], dict, float, keras.Model]:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(600, 4)).astype(np.float32)
    labels = (inputs[:, 0] * inputs[:, 1] > 0).astype(int)
    keras.utils.set_random_seed(1)
    model = build_tabular(4, [], 2, members_for(100_000))
    batches = TabularBatches(inputs[:500], labels[:500], 2, seed=1)
    batches.epochs = 8
    checkpoint = Checkpoint(FolderObjects(folder), "jobs/flowers/checkpoints/one/")
    checkpoint.due = lambda: True
    seen: list[int] = []

    def on_epoch(done: int, total: int, facts: dict[str, float]) -> None:
        seen.append(done)
        if dies and done == DIES_AFTER + 1:  # the state after epoch 3 is stored, that of epoch 4 is not
            raise Died

    try:
        plan = Fit(model, batches, (inputs[500:], labels[500:]), checkpoint, on_epoch).run(60)
    except Died:
        return seen, checkpoint.load()[0], 0.0, model
    accuracy = float((predict_both(model, inputs[:500])[0].argmax(axis=1) == labels[:500]).mean())
    return seen, plan, accuracy, model


def main() -> None:
    folder = Path(sys.argv[1])
    first_seen, first_plan, _, _ = fit(folder, dies=True)
    second_seen, second_plan, accuracy, _ = fit(folder, dies=False)
    Checkpoint(FolderObjects(folder), "jobs/flowers/checkpoints/one/").clear()
    left = list(FolderObjects(folder).list("jobs/"))
    found = {"first": first_seen, "second": second_seen, "plans": [first_plan, second_plan]}
    print(json.dumps({**found, "accuracy": accuracy, "left": left}))


if __name__ == "__main__":
    main()
