"""A snapshot as it is stored, read back: which examples, from which samples, and their inputs again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from common.datasets import Dataset
from common.errors import NotFound, Unusable
from common.pipelines import Pipeline
from train.snapshot import PARTS, fingerprint_of, labelled_examples, snapshot_key

LEAST_START = 6


@dataclass(frozen=True)
class Listed:
    """An example as the snapshot lists it: its label's value, and the sample and row where it was seen first."""

    example: str
    label: str
    part: str
    sample: str
    row: int


@dataclass(frozen=True)
class StoredSnapshot:
    fingerprint: str
    created: str
    labels: tuple[str, ...]
    samples: list[str]
    examples: list[Listed]

    def fingerprint_again(self) -> str:
        """The name that its examples give it; another one than `fingerprint` if the list was altered."""
        index = {label: place for place, label in enumerate(self.labels)}
        return fingerprint_of((one.example, index[one.label]) for one in self.examples)


def fingerprints(dataset: Dataset) -> list[str]:
    """The fingerprints of all stored snapshots."""
    keys = dataset.objects.list(f"{dataset.root}snapshots/")
    return [key.rpartition("/")[2].removesuffix(".json") for key in keys if key.endswith(".json")]


def find_fingerprint(dataset: Dataset, start: str) -> str:
    """The one fingerprint that begins so. Raises NotFound if there is none, or more than one."""
    found = [one for one in fingerprints(dataset) if one.startswith(start)] if len(start) >= LEAST_START else []
    if len(found) == 1:
        return found[0]
    why = "several begin so" if found else f"{LEAST_START} characters of it are the least" if len(start) < 6 else "none"
    raise NotFound(f"no snapshot {start} in {dataset.objects.where}, {dataset.root}snapshots/: {why}")


def read_snapshot(pipeline: Pipeline, dataset: Dataset, fingerprint: str) -> StoredSnapshot:
    """Raises NotFound if it is not stored, Unusable if it is damaged."""
    found = dataset.objects.get(snapshot_key(dataset, fingerprint))
    if found is None:
        raise NotFound(f"no snapshot {fingerprint} in {dataset.objects.where}, {dataset.root}snapshots/")
    try:
        body = json.loads(found.body)
        labels = tuple(body.get("labels") or pipeline.label_values)  # earlier ones did not keep them
        samples = list(body["samples"])
        examples = [
            Listed(name, labels[label], PARTS[part], samples[sample], row)
            for name, label, part, sample, row in body["examples"]
        ]
        snapshot = StoredSnapshot(fingerprint, body["created"], labels, samples, examples)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise Unusable(f"the snapshot {fingerprint} is damaged: {type(error).__name__}: {error}") from None
    if snapshot.fingerprint_again() != fingerprint:
        raise Unusable(f"the snapshot {fingerprint} was altered: its examples give it another name")
    return snapshot


def read_inputs(
    pipeline: Pipeline, dataset: Dataset, snapshot: StoredSnapshot, on_sample: Callable[[int, int], None]
) -> Iterator[tuple[Listed, Any]]:
    """Every example with its input: a row as a tuple of values, or a picture's file as it was received.

    Read sample by sample. Raises NotFound if a sample is gone, Unusable if one no longer holds what the snapshot says.
    """
    wanted: dict[str, dict[int, Listed]] = {}
    for one in snapshot.examples:
        wanted.setdefault(one.sample, {})[one.row] = one
    samples = [sample for sample in dataset.samples() if sample.key in wanted]
    gone = sorted(wanted.keys() - {sample.key for sample in samples})
    if gone:
        raise NotFound(f"{len(gone)} samples of the snapshot are stored no more, the first of them {gone[0]}")
    for done, (sample, body) in enumerate(dataset.bodies(samples)):
        rows = wanted.pop(sample.key)
        for number, value, canonical, _ in labelled_examples(pipeline, sample, body):
            listed = rows.get(number)
            if listed is not None and hashlib.sha256(canonical).hexdigest() == listed.example:
                yield rows.pop(number), value
        if rows:
            raise Unusable(
                f"the sample {sample.key} no longer holds the example of its row {min(rows)}: it was altered, or the "
                f"columns of the pipeline {pipeline.name} were"
            )
        on_sample(done + 1, len(samples))
    if wanted:
        raise NotFound(f"the sample {min(wanted)} was taken away meanwhile")
