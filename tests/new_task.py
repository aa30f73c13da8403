"""Trains a pipeline on several splits of what is stored, and a random forest beside it: `python new_task.py SPEC`.

In a process of its own, since TensorFlow is dear. SPEC is a JSON object: folder of `pipelines`, `store`, `name`,
`epochs` of a training, `splits`. Prints, as its last line, what each got right of the holdouts, and the seconds of
each training.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from common.datasets import Dataset
from common.features import canonical_row
from common.objects import FolderObjects
from common.pictures import canonical_picture, decode_picture, square_view
from common.pipelines import Pipeline, read_pipelines
from fitted import fitted_bundle
from train.snapshot import SALT, Examples, part_of, read_examples

TREES, FOREST_SIDE = 500, 32


def split_again(pipeline: Pipeline, examples: Examples, number: int) -> Examples:
    """The examples with the parts that another salt would have given them; number 0 is the snapshot's own."""
    canonical = canonical_picture if pipeline.kind == "image" else canonical_row
    salt = SALT + (f"-{number}" if number else "")
    return replace(examples, parts=np.array([part_of(canonical(one), salt) for one in examples.inputs]))


def flat(pipeline: Pipeline, inputs: list[Any]) -> np.ndarray:
    """What the forest gets: the numbers, or all pixels of small pictures."""
    if pipeline.kind == "image":
        return np.stack([decode_picture(one, square_view(FOREST_SIDE)).ravel() for one in inputs])
    return np.array(inputs, dtype=np.float64)


def main() -> None:
    spec = json.loads(sys.argv[1])
    pipeline = read_pipelines(Path(spec["pipelines"]))[spec["name"]]
    dataset = Dataset(FolderObjects(Path(spec["store"])), pipeline.name)
    whole = read_examples(pipeline, dataset, dataset.samples())
    told: dict[str, list[float]] = {"ours": [], "forest": [], "of": [], "seconds": []}
    for number in range(spec["splits"]):
        examples = split_again(pipeline, whole, number)
        train, tune, (holdout, labels) = (examples.of(part) for part in range(3))
        seeded = replace(pipeline, train=replace(pipeline.train, seed=pipeline.train.seed + number))
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            bundle = fitted_bundle(seeded, train, tune, spec["epochs"], Path(folder))
            told["ours"].append(int((bundle.predict(holdout)[0].argmax(axis=1) == labels).sum()))
        told["seconds"].append(round(time.monotonic() - began, 1))
        # The forest needs no tune part: it learns from that too.
        forest = RandomForestClassifier(TREES, random_state=number, n_jobs=2)
        forest.fit(flat(pipeline, [*train[0], *tune[0]]), np.concatenate([train[1], tune[1]]))
        told["forest"].append(int((forest.predict(flat(pipeline, holdout)) == labels).sum()))
        told["of"].append(len(labels))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
