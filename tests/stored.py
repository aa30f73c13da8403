"""Stored samples and snapshots of flowers and pets, for tests that read them back."""

from __future__ import annotations

import json
from typing import Any

from common.pipelines import Pipeline
from common.storage import keys
from common.storage.dataset import Dataset, SampleMeta, SampleSource, sample_digest
from flowers import draw, encode, flower_rows
from train.snapshot import read_examples, store_snapshot


def sample_meta(body: bytes, batch: int, **facts: Any) -> SampleMeta:
    """The meta of a sample; `facts` override the defaults."""
    defaults = {"sha256": sample_digest(body), "batch": batch, "made_up": True, "rows": 1, "source": SampleSource()}
    return SampleMeta(**{"format": "json", "time": "", **defaults, **facts})


def add_rows(dataset: Dataset, batch: int, rows: list[list[str]]) -> None:
    body = json.dumps({"data": rows}).encode()
    dataset.add_sample(body, sample_meta(body, batch, format="json", time=str(batch)))


def add_pictures(dataset: Dataset, first: int, count: int) -> None:
    """Each picture is one sample; every third is a JPEG."""
    for number in range(first, first + count):
        label = ("cat", "dog")[number % 2]
        body = encode(draw(label, number), "JPEG" if number % 3 == 0 else "PNG")
        facts = {"format": "picture", "time": f"{number:05}", "label": label, "name": f"{label}/{number}.png"}
        dataset.add_sample(body, sample_meta(body, 1, **facts))


def grow(dataset: Dataset, pipeline: Pipeline, step: int) -> str:
    """Add samples, then store a snapshot of all; its fingerprint."""
    if pipeline.kind == "image":
        add_pictures(dataset, 60 * step, 60)
    else:
        rows = flower_rows(90, seed=step)
        # The last 30 rows are the first of the batch before: the same examples in another sample.
        add_rows(dataset, step + 1, rows if step == 0 else [*rows[:60], *flower_rows(90, seed=step - 1)[:30]])
    return store_snapshot(dataset, read_examples(pipeline, dataset, dataset.samples()))


def listed(dataset: Dataset, fingerprint: str) -> dict[str, Any]:
    """The stored snapshot as plain JSON."""
    stored = dataset.store.get(keys.snapshot(dataset.pipeline, fingerprint))
    assert stored is not None
    return dict(json.loads(stored.body))
