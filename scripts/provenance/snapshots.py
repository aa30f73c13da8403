"""Finds a stored snapshot by the start of its fingerprint, checks it, and reads the inputs of its examples again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from common.errors import NotFound, Unusable
from common.inference.features import example_hash
from common.pipelines import Pipeline
from common.storage import keys
from common.storage.dataset import Dataset
from train.snapshot import SnapshotDocument, Split, labelled_examples, load_snapshot

MIN_PREFIX = 6


@dataclass(frozen=True)
class SnapshotExample:
    """An example of a snapshot with label and part by name, and the sample and row that had it first."""

    example: str
    label: str
    part: str
    sample: str
    row: int


@dataclass(frozen=True)
class StoredSnapshot:
    fingerprint: str
    created: str
    samples: list[str]
    examples: list[SnapshotExample]


def fingerprints(dataset: Dataset) -> list[str]:
    """The fingerprints of all stored snapshots."""
    listed = dataset.store.list(keys.snapshots(dataset.pipeline))
    return [key.rpartition("/")[2].removesuffix(".json") for key in listed if key.endswith(".json")]


def find_fingerprint(dataset: Dataset, prefix: str) -> str:
    """The fingerprint that starts with `prefix`. Raises NotFound if none does, or more than one."""
    matches = [name for name in fingerprints(dataset) if name.startswith(prefix)] if len(prefix) >= MIN_PREFIX else []
    if len(matches) == 1:
        return matches[0]
    reason = "several match" if matches else f"give at least {MIN_PREFIX} characters" if len(prefix) < 6 else "no match"
    raise NotFound(f"no snapshot {prefix} in {_place(dataset)}: {reason}")


def read_snapshot(pipeline: Pipeline, dataset: Dataset, fingerprint: str) -> StoredSnapshot:
    """Raises NotFound if it is not stored, DamagedDocument if it can't be read, Unusable if it was altered."""
    document = load_snapshot(dataset, fingerprint)
    if document is None:
        raise NotFound(f"no snapshot {fingerprint} in {_place(dataset)}")
    if document.recomputed_fingerprint() != fingerprint:
        raise Unusable(f"the snapshot {fingerprint} was altered: its examples have another fingerprint")
    try:
        examples = _examples(pipeline, document)
    except (IndexError, ValueError) as error:
        raise Unusable(f"the snapshot {fingerprint} is damaged: {error}") from None
    return StoredSnapshot(fingerprint, document.created, document.samples, examples)


def _examples(pipeline: Pipeline, document: SnapshotDocument) -> list[SnapshotExample]:
    """Raises IndexError or ValueError for a label, a part or a sample that does not exist."""
    labels = document.labels or pipeline.label_values
    return [
        SnapshotExample(example, labels[label], Split(part).label, document.samples[sample], row)
        for example, label, part, sample, row in document.examples
    ]


def read_inputs(
    pipeline: Pipeline, dataset: Dataset, snapshot: StoredSnapshot, on_sample: Callable[[int, int], None]
) -> Iterator[tuple[SnapshotExample, Any]]:
    """Every example with its input, sample by sample: a row as a tuple of values, or a picture file as received.

    Raises NotFound if a sample was deleted, Unusable if a sample no longer holds an example.
    """
    wanted: dict[str, dict[int, SnapshotExample]] = {}
    for example in snapshot.examples:
        wanted.setdefault(example.sample, {})[example.row] = example
    samples = [sample for sample in dataset.samples() if sample.key in wanted]
    deleted = sorted(wanted.keys() - {sample.key for sample in samples})
    if deleted:
        raise NotFound(f"{len(deleted)} samples of the snapshot are no longer stored, the first is {deleted[0]}")
    for done, (sample, body) in enumerate(dataset.bodies(samples)):
        rows = wanted.pop(sample.key)
        for found in labelled_examples(pipeline, sample, body):
            example_at = rows.get(found.row)
            if example_at is not None and example_hash(found.canonical) == example_at.example:
                yield rows.pop(found.row), found.input
        if rows:
            raise Unusable(
                f"the sample {sample.key} no longer holds the example of its row {min(rows)}: the sample or the "
                f"columns of the pipeline {pipeline.name} were changed"
            )
        on_sample(done + 1, len(samples))
    if wanted:
        raise NotFound(f"the sample {min(wanted)} was deleted during the export")


def _place(dataset: Dataset) -> str:
    return f"{dataset.store.where}, {keys.snapshots(dataset.pipeline)}"
