"""Stored samples and snapshots of flowers and pets, for tests of what is read back of them."""

from __future__ import annotations

import json
from typing import Any

from common.datasets import Dataset
from common.pipelines import Pipeline
from flowers import draw, encode, flower_rows
from train.snapshot import read_examples, store_snapshot


def add_rows(dataset: Dataset, batch: int, rows: list[list[str]]) -> None:
    meta = {"format": "json", "time": str(batch), "made_up": True, "intent": None}
    dataset.add_sample(batch, json.dumps({"data": rows}).encode(), meta)


def add_pictures(dataset: Dataset, first: int, count: int) -> None:
    """One sample each; every third as a JPEG."""
    for number in range(first, first + count):
        label = ("cat", "dog")[number % 2]
        body = encode(draw(label, number), "JPEG" if number % 3 == 0 else "PNG")
        meta = {"format": "picture", "time": f"{number:05}", "made_up": True, "intent": None, "label": label}
        dataset.add_sample(1, body, {**meta, "name": f"{label}/{number}.png"})


def grow(dataset: Dataset, pipeline: Pipeline, step: int) -> str:
    """Some samples more, and a snapshot of all; its fingerprint."""
    if pipeline.kind == "image":
        add_pictures(dataset, 60 * step, 60)
    else:
        rows = flower_rows(90, seed=step)
        # The second half repeats the first of the batch before: the same examples in another sample.
        add_rows(dataset, step + 1, rows if step == 0 else [*rows[:60], *flower_rows(90, seed=step - 1)[:30]])
    return store_snapshot(dataset, read_examples(pipeline, dataset, dataset.samples()))


def listed(dataset: Dataset, fingerprint: str) -> dict[str, Any]:
    found = dataset.objects.get(f"{dataset.root}snapshots/{fingerprint}.json")
    assert found is not None
    return dict(json.loads(found.body))
