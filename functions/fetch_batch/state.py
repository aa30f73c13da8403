"""What the keys say of a collection: batches, missing ones, lost answers, quarantine, history."""

from __future__ import annotations

from collections import Counter
from typing import Any

from common.datasets import Dataset, Sample, distinct_examples
from common.executions import history
from common.leases import held_by
from common.objects import Objects
from common.pipelines import Pipeline

SHOWN = ("id", "started", "ended", "state", "status", "stored", "duplicate", "quarantined", "batch", "message")


def missing_batches(pipeline: Pipeline, samples: list[Sample]) -> list[int]:
    """Numbers of the batches that have no sample yet; only a batch-api says how many there are."""
    have = {sample.batch for sample in samples}
    return [number for number in range(1, pipeline.source.batches + 1) if number not in have]


def is_complete(pipeline: Pipeline, dataset: Dataset) -> bool:
    """True if every batch has a sample, or the source said that it has given everything."""
    if pipeline.source.type != "batch-api":
        newest = history(dataset.objects, pipeline.name, "fetch-batch", most=1)
        return bool(newest) and newest[0].body["status"] == "complete"
    if not missing_batches(pipeline, dataset.samples()):
        return True
    return any(intent["outcome"] == "exhausted" for intent in dataset.intents())


def lost_answers(dataset: Dataset, samples: list[Sample], holder: str | None, waiting: set[str]) -> int:
    """Intents with neither sample nor recorded failure whose lease is over. `holder`: nonce that holds it now;

    `waiting`: intents whose answers wait for the store.
    """
    kept = {sample.meta["intent"] for sample in samples} | waiting
    return sum(
        1
        for intent in dataset.intents()
        if intent["outcome"] is None and intent["id"] not in kept and intent["lease"] != holder
    )


def describe(pipeline: Pipeline, dataset: Dataset, objects: Objects, waiting: set[str]) -> dict[str, Any]:
    """The answer of GET fetch-batch/<pipeline>. `waiting`: intents whose answers wait for the store."""
    samples = dataset.samples()
    missing = missing_batches(pipeline, samples)
    complete = is_complete(pipeline, dataset)
    batches = sorted({sample.batch for sample in samples})
    reasons = Counter(
        (rejected["field"], rejected["detail"]) for sample in samples for rejected in sample.meta["rejected"]
    )
    failures = Counter(
        intent["outcome"].removeprefix("failed: ")
        for intent in dataset.intents()
        if (intent["outcome"] or "").startswith("failed: ")
    )
    lost = lost_answers(dataset, samples, held_by(objects, f"jobs/{pipeline.name}/fetch.json"), waiting)
    return {
        "pipeline": pipeline.name,
        "source": dataset.source(),
        "complete": complete,
        "batches": [_batch(number, samples) for number in batches],
        "missing_batches": missing,
        "samples": len(samples),
        "examples": distinct_examples(samples),
        "lost_answers": lost,
        "waiting_answers": len(waiting),
        "failures": [{"detail": detail, "count": count} for detail, count in failures.most_common()],
        "quarantine": {
            "rows": sum(sample.meta["rejected_rows"] for sample in samples),
            "reasons": [
                {"field": field, "detail": detail, "count": count} for (field, detail), count in reasons.most_common(50)
            ],
        },
        "executions": [
            {key: record.body[key] for key in SHOWN} for record in history(objects, pipeline.name, "fetch-batch")
        ],
        "message": _message(complete, samples, missing, lost, len(waiting)),
    }


def _batch(number: int, samples: list[Sample]) -> dict[str, int]:
    here = [sample for sample in samples if sample.batch == number]
    return {"number": number, "samples": len(here), "examples": distinct_examples(here)}


def _message(complete: bool, samples: list[Sample], missing: list[int], lost: int, waiting: int) -> str:
    """The state in a sentence, for those who read no numbers."""
    if complete and not samples:
        return "complete, but the source never gave any data: there is nothing to train on"
    told = "complete" if complete else "collecting" if samples else "nothing collected yet"
    if missing and samples:
        told += f"; missing batches: {', '.join(map(str, missing))}"
    if waiting:
        told += f"; {waiting} answers of the source wait until the object store takes them"
    if lost:
        told += f"; {lost} answers were lost between the source and the store"
    return told
