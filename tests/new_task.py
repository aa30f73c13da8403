"""Trains a pipeline and a random forest on several splits of the stored examples: `python new_task.py SPEC`.

It runs in a process of its own because TensorFlow takes long to import. SPEC is a JSON object: folder of `pipelines`,
`store`, `name`, `epochs` of a training, `splits`. The last line of its output has the correct answers of both on the
holdouts, the holdouts' sizes, and the seconds of each training.
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

from common.inference.features import canonical_row
from common.inference.pictures import canonical_picture, decode_picture, square_view
from common.pipeline_files import read_pipelines
from common.pipelines import Pipeline
from common.storage.dataset import Dataset
from common.storage.folder import FolderStore
from fitted import fitted_bundle
from train.snapshot import SALT, Examples, Split, read_examples, split_of

TREES, FOREST_SIDE = 500, 32


def split_again(pipeline: Pipeline, examples: Examples, number: int) -> Examples:
    """The examples split with another salt; number 0 is the split of the snapshot."""
    canonical = canonical_picture if pipeline.kind == "image" else canonical_row
    salt = SALT + (f"-{number}" if number else "")
    return replace(examples, splits=np.array([split_of(canonical(one), salt) for one in examples.inputs]))


def flat(pipeline: Pipeline, inputs: list[Any]) -> np.ndarray:
    """The inputs of the forest: the numbers, or all pixels of small pictures."""
    if pipeline.kind == "image":
        return np.stack([decode_picture(one, square_view(FOREST_SIDE)).ravel() for one in inputs])
    return np.array(inputs, dtype=np.float64)


def seeded_pipeline(pipeline: Pipeline, seed: int) -> Pipeline:
    return pipeline.model_copy(update={"train": pipeline.train.model_copy(update={"seed": seed})})


def main() -> None:
    spec = json.loads(sys.argv[1])
    pipeline = read_pipelines(Path(spec["pipelines"]))[spec["name"]]
    dataset = Dataset(FolderStore(Path(spec["store"])), pipeline.name)
    all_examples = read_examples(pipeline, dataset, dataset.samples())
    scores: dict[str, list[float]] = {"network": [], "forest": [], "holdout": [], "seconds": []}
    for number in range(spec["splits"]):
        examples = split_again(pipeline, all_examples, number)
        train, tune, (holdout, labels) = (examples.of(split) for split in Split)
        seeded = seeded_pipeline(pipeline, pipeline.train.seed + number)
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            bundle = fitted_bundle(seeded, train, tune, spec["epochs"], Path(folder))
            scores["network"].append(int((bundle.predict(holdout)[0].argmax(axis=1) == labels).sum()))
        scores["seconds"].append(round(time.monotonic() - began, 1))
        # The forest needs no tune split, so it also learns from that.
        forest = RandomForestClassifier(TREES, random_state=number, n_jobs=2)
        forest.fit(flat(pipeline, [*train[0], *tune[0]]), np.concatenate([train[1], tune[1]]))
        scores["forest"].append(int((forest.predict(flat(pipeline, holdout)) == labels).sum()))
        scores["holdout"].append(len(labels))
        print(json.dumps(scores), flush=True)


if __name__ == "__main__":
    main()
