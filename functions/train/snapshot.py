"""A snapshot: the exact list of distinct examples of a training run, each on its side of the split for good."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.datasets import Dataset, Sample, rows_of
from common.errors import Conflict, TrainingFailed, Unusable
from common.executions import timestamp
from common.features import canonical_row, read_row
from common.pictures import canonical_picture
from common.pipelines import Pipeline

SALT = "sabueso-1"
FRACTIONS = (0.7, 0.1, 0.2)
PARTS = ("train", "tune", "holdout")
LEAST = {"train": 10, "tune": 2, "holdout": 4}


def part_of(canonical: bytes, salt: str = SALT, fractions: tuple[float, ...] = FRACTIONS) -> int:
    """0 train, 1 tune, 2 holdout: by sha256(salt + canonical raw features), so an example never changes sides."""
    place = int.from_bytes(hashlib.sha256(salt.encode() + canonical).digest()[:8], "big") / 2**64
    if place < fractions[0]:
        return 0
    return 1 if place < fractions[0] + fractions[1] else 2


@dataclass(frozen=True)
class Examples:
    """Distinct examples: `inputs` are rows as tuples of values or picture files as bytes."""

    inputs: list[Any]
    labels: np.ndarray
    parts: np.ndarray
    hashes: list[str]
    places: list[tuple[int, int]]
    sample_keys: list[str]
    conflicting: int
    made_up: bool
    label_values: tuple[str, ...] = ()

    def of(self, part: int) -> tuple[list[Any], np.ndarray]:
        """Inputs and label indices of one part."""
        chosen = np.flatnonzero(self.parts == part)
        return [self.inputs[index] for index in chosen], self.labels[chosen]

    def fingerprint(self) -> str:
        """sha256 over the sorted hashes and labels: equal lists have equal names, in whatever order they came."""
        return fingerprint_of(zip(self.hashes, self.labels, strict=True))


def fingerprint_of(examples: Iterable[tuple[str, int]]) -> str:
    """The name of a snapshot with those hashes and label indices."""
    lines = sorted(f"{name} {label}" for name, label in examples)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def labelled_examples(pipeline: Pipeline, sample: Sample, body: bytes) -> list[tuple[int, Any, bytes, str]]:
    """(row number, input, canonical bytes, label) of every usable example of a sample."""
    if pipeline.kind == "image":
        label = sample.meta["label"]
        try:
            return [(0, body, canonical_picture(body), label)] if label in pipeline.label_values else []
        except Unusable:
            return []
    found = []
    columns = pipeline.input_columns()
    names = [column.name for column in pipeline.columns]
    for number, row in enumerate(rows_of(sample, body, names)):
        if not isinstance(row, list) or len(row) != len(names):
            continue
        raw = dict(zip(names, row, strict=True))
        label = str(raw.pop(pipeline.target)).strip()
        values, errors = read_row(raw, columns)
        if not errors and label in pipeline.label_values:
            found.append((number, values, canonical_row(values), label))
    return found


def read_examples(pipeline: Pipeline, dataset: Dataset, samples: list[Sample]) -> Examples:
    """The distinct examples of the samples; of conflicting labels the commoner counts, then the earlier.

    Raises TrainingFailed if a part would be too small to mean anything.
    """
    first: dict[str, tuple[Any, int, tuple[int, int]]] = {}
    votes: dict[str, Counter[str]] = {}
    places = {sample.key: place for place, sample in enumerate(samples)}
    for sample, body in dataset.bodies(samples):
        for number, value, canonical, label in labelled_examples(pipeline, sample, body):
            name = hashlib.sha256(canonical).hexdigest()
            if name not in first:
                first[name] = (value, part_of(canonical), (places[sample.key], number))
            votes.setdefault(name, Counter())[label] += 1
    index = {label: number for number, label in enumerate(pipeline.label_values)}
    examples = Examples(
        inputs=[value for value, _, _ in first.values()],
        labels=np.array([index[votes[name].most_common(1)[0][0]] for name in first], dtype=np.int64),
        parts=np.array([part for _, part, _ in first.values()], dtype=np.int64),
        hashes=list(first),
        places=[where for _, _, where in first.values()],
        sample_keys=[sample.key for sample in samples],
        conflicting=sum(len(one) > 1 for one in votes.values()),
        made_up=any(sample.meta["made_up"] for sample in samples),
        label_values=pipeline.label_values,
    )
    sizes = {name: int((examples.parts == part).sum()) for part, name in enumerate(PARTS)}
    small = [f"{name} has {size}, needs {LEAST[name]}" for name, size in sizes.items() if size < LEAST[name]]
    if small:
        raise TrainingFailed(f"too few examples ({len(first)}): {'; '.join(small)}. Collect more and try again.")
    if len(set(examples.of(0)[1])) < 2:
        raise TrainingFailed("all examples of the train part have the same label: there is nothing to tell apart")
    return examples


def store_snapshot(dataset: Dataset, examples: Examples) -> str:
    """Write datasets/<pipeline>/snapshots/<fingerprint>.json if it is not there; returns the fingerprint."""
    fingerprint = examples.fingerprint()
    body = {
        "fingerprint": fingerprint,
        "created": timestamp(),
        "split": {"salt": SALT, "fractions": FRACTIONS},
        "labels": examples.label_values,
        "samples": examples.sample_keys,
        "columns": ["example", "label", "part", "sample", "row"],
        "examples": [
            [name, int(label), int(part), sample, row]
            for name, label, part, (sample, row) in zip(
                examples.hashes, examples.labels, examples.parts, examples.places, strict=True
            )
        ],
    }
    with contextlib.suppress(Conflict):  # the same list is the same snapshot
        dataset.objects.put(snapshot_key(dataset, fingerprint), json.dumps(body).encode(), if_absent=True)
    return fingerprint


def snapshot_samples(dataset: Dataset, fingerprint: str) -> list[Sample] | None:
    """The samples a stored snapshot was made of, or None if there is no such snapshot."""
    found = dataset.objects.get(snapshot_key(dataset, fingerprint))
    if found is None:
        return None
    wanted = set(json.loads(found.body)["samples"])
    return [sample for sample in dataset.samples() if sample.key in wanted]


def snapshot_key(dataset: Dataset, fingerprint: str) -> str:
    return f"{dataset.root}snapshots/{fingerprint}.json"
