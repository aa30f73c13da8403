"""A snapshot: the exact list of distinct examples of a training, each permanently assigned to a split."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from common.documents import Document
from common.errors import Conflict, Unusable
from common.inference.contract import SplitRule
from common.inference.features import canonical_row, example_hash
from common.inference.picture_files import DEFAULT_LIMITS, PictureLimits
from common.inference.pictures import canonical_picture
from common.labelled_rows import read_labelled_row
from common.pipelines import Pipeline
from common.storage import keys
from common.storage.dataset import Dataset, Sample, rows_of
from common.timestamps import timestamp
from train.errors import TrainingFailed

SALT = "sabueso-1"
FRACTIONS = (0.7, 0.1, 0.2)


class Split(IntEnum):
    """The splits. Snapshots store the numbers."""

    TRAIN = 0
    TUNE = 1
    HOLDOUT = 2

    @property
    def label(self) -> str:
        return self.name.lower()


MIN_EXAMPLES = {Split.TRAIN: 10, Split.TUNE: 2, Split.HOLDOUT: 4}


def split_of(canonical: bytes, salt: str = SALT, fractions: tuple[float, ...] = FRACTIONS) -> Split:
    """By sha256(salt + canonical raw features), so that an example never changes its split."""
    position = int.from_bytes(hashlib.sha256(salt.encode() + canonical).digest()[:8], "big") / 2**64
    if position < fractions[0]:
        return Split.TRAIN
    return Split.TUNE if position < fractions[0] + fractions[1] else Split.HOLDOUT


@dataclass(frozen=True)
class Examples:
    """Distinct examples. `inputs`: rows as tuples of values, or picture files as bytes.

    `labels`, `splits`: indices (n,). `origins`: index of the sample and number of the row where each was seen first.
    `conflicting`: how many came with different labels.
    """

    inputs: list[Any]
    labels: np.ndarray
    splits: np.ndarray
    hashes: list[str]
    origins: list[tuple[int, int]]
    sample_keys: list[str]
    conflicting: int
    made_up: bool
    label_values: tuple[str, ...] = ()

    def of(self, split: Split) -> tuple[list[Any], np.ndarray]:
        """Inputs and label indices of one split."""
        chosen = np.flatnonzero(self.splits == split)
        return [self.inputs[index] for index in chosen], self.labels[chosen]

    def sizes(self) -> dict[str, int]:
        """Examples by split."""
        return {split.label: int((self.splits == split).sum()) for split in Split}

    def fingerprint(self) -> str:
        return fingerprint_of(zip(self.hashes, self.labels, strict=True))


@dataclass(frozen=True)
class SnapshotProfile:
    """Counts of a snapshot: examples per split and per label, and examples that arrived with more than one label.

    MLflow stores it under these names.
    """

    num_rows: int
    parts: dict[str, int]
    labels: dict[str, int]
    conflicting_labels: int
    samples: int


def profile(pipeline: Pipeline, examples: Examples) -> SnapshotProfile:
    counts = np.bincount(examples.labels, minlength=len(pipeline.labels))
    return SnapshotProfile(
        num_rows=len(examples.hashes),
        parts=examples.sizes(),
        labels={label: int(count) for label, count in zip(pipeline.label_values, counts, strict=True)},
        conflicting_labels=examples.conflicting,
        samples=len(examples.sample_keys),
    )


class SnapshotDocument(Document):
    """A stored snapshot. For each example: hash, label, split (`part`), index of its sample, number of its row.

    The first snapshots had no labels.
    """

    fingerprint: str
    created: str
    split: SplitRule
    labels: tuple[str, ...] = ()
    samples: list[str]
    columns: tuple[str, ...] = ("example", "label", "part", "sample", "row")
    examples: list[tuple[str, int, int, int, int]]

    def recomputed_fingerprint(self) -> str:
        """Another one than `fingerprint` if the list was altered."""
        return fingerprint_of((example, label) for example, label, *_ in self.examples)


def fingerprint_of(examples: Iterable[tuple[str, int]]) -> str:
    """sha256 over the sorted hashes and label indices: the same examples in any order have the same name."""
    lines = sorted(f"{name} {label}" for name, label in examples)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class LabelledExample(NamedTuple):
    """A usable example of a sample. `row`: its number; `input`: a tuple of values, or a picture file."""

    row: int
    input: Any
    canonical: bytes
    label: str


def labelled_examples(
    pipeline: Pipeline, sample: Sample, body: bytes, limits: PictureLimits = DEFAULT_LIMITS
) -> list[LabelledExample]:
    """Every usable example of a sample; a picture beyond the limits is none."""
    if pipeline.kind == "image":
        label = sample.meta.label
        if label is None or label not in pipeline.label_values:
            return []
        try:
            return [LabelledExample(0, body, canonical_picture(body, limits), label)]
        except Unusable:
            return []
    usable = []
    names = [column.name for column in pipeline.columns]
    for number, row in enumerate(rows_of(sample, body, names)):
        values, label, errors = read_labelled_row(row, pipeline)
        if not errors:
            usable.append(LabelledExample(number, values, canonical_row(values), label))
    return usable


def read_examples(
    pipeline: Pipeline, dataset: Dataset, samples: list[Sample], limits: PictureLimits = DEFAULT_LIMITS
) -> Examples:
    """The distinct examples of the samples. Of conflicting labels the most frequent wins; a tie goes to the earliest.

    Raises TrainingFailed if a split is too small.
    """
    first: dict[str, tuple[Any, Split, tuple[int, int]]] = {}
    votes: dict[str, Counter[str]] = {}
    numbers = {sample.key: number for number, sample in enumerate(samples)}
    for sample, body in dataset.bodies(samples):
        for example in labelled_examples(pipeline, sample, body, limits):
            name = example_hash(example.canonical)
            if name not in first:
                first[name] = (example.input, split_of(example.canonical), (numbers[sample.key], example.row))
            votes.setdefault(name, Counter())[example.label] += 1
    index = {label: number for number, label in enumerate(pipeline.label_values)}
    examples = Examples(
        inputs=[value for value, _, _ in first.values()],
        labels=np.array([index[votes[name].most_common(1)[0][0]] for name in first], dtype=np.int64),
        splits=np.array([split for _, split, _ in first.values()], dtype=np.int64),
        hashes=list(first),
        origins=[origin for _, _, origin in first.values()],
        sample_keys=[sample.key for sample in samples],
        conflicting=sum(len(one) > 1 for one in votes.values()),
        made_up=any(sample.meta.made_up for sample in samples),
        label_values=pipeline.label_values,
    )
    _check_size(examples)
    return examples


def _check_size(examples: Examples) -> None:
    """Raises TrainingFailed if a split is too small, or if only one label is known."""
    sizes = examples.sizes()
    small = [
        f"{split.label} has {sizes[split.label]}, needs {least}"
        for split, least in MIN_EXAMPLES.items()
        if sizes[split.label] < least
    ]
    if small:
        count = len(examples.hashes)
        raise TrainingFailed(f"too few examples ({count}): {'; '.join(small)}. Collect more and try again.")
    if len(set(examples.of(Split.TRAIN)[1])) < 2:
        raise TrainingFailed("all examples of the train split have the same label: there is nothing to learn")


def store_snapshot(dataset: Dataset, examples: Examples) -> str:
    """Store the snapshot unless it is stored already; returns its fingerprint."""
    fingerprint = examples.fingerprint()
    document = SnapshotDocument(
        fingerprint=fingerprint,
        created=timestamp(),
        split=SplitRule(salt=SALT, fractions=FRACTIONS),
        labels=examples.label_values,
        samples=examples.sample_keys,
        examples=[
            (name, int(label), int(split), sample, row)
            for name, label, split, (sample, row) in zip(
                examples.hashes, examples.labels, examples.splits, examples.origins, strict=True
            )
        ],
    )
    with contextlib.suppress(Conflict):  # the same list is the same snapshot
        dataset.store.put(keys.snapshot(dataset.pipeline, fingerprint), document.encode(), if_absent=True)
    return fingerprint


def load_snapshot(dataset: Dataset, fingerprint: str) -> SnapshotDocument | None:
    """The stored snapshot, or None. Raises DamagedDocument."""
    key = keys.snapshot(dataset.pipeline, fingerprint)
    stored = dataset.store.get(key)
    return None if stored is None else SnapshotDocument.decode(stored.body, key)


def snapshot_samples(dataset: Dataset, fingerprint: str) -> list[Sample] | None:
    """The samples that a stored snapshot was made of, or None if there is no such snapshot."""
    document = load_snapshot(dataset, fingerprint)
    if document is None:
        return None
    wanted = set(document.samples)
    return [sample for sample in dataset.samples() if sample.key in wanted]
