"""The state of a collection: batches, missing ones, lost answers, quarantine, history."""

from __future__ import annotations

from collections import Counter

from common.json_types import Json
from common.pipelines import Pipeline
from common.storage import keys
from common.storage.dataset import Dataset, Sample, count_examples
from common.storage.executions import history, newest
from common.storage.leases import holder_nonce
from fetch_batch.record import FetchRecord

SHOWN = {"id", "started", "ended", "state", "status", "stored", "duplicate", "quarantined", "batch", "message"}
MAX_REASONS = 50


def missing_batches(pipeline: Pipeline, samples: list[Sample]) -> list[int]:
    """Numbers of the batches without a sample; only a batch-api says how many batches there are."""
    have = {sample.batch for sample in samples}
    return [number for number in range(1, (pipeline.source.batches or 0) + 1) if number not in have]


def is_complete(pipeline: Pipeline, dataset: Dataset) -> bool:
    """True if every batch has a sample, or the source said that it has no more data."""
    if pipeline.source.type != "batch-api":
        last = newest(dataset.store, pipeline.name, FetchRecord)
        return last is not None and last.record.status == "complete"
    if not missing_batches(pipeline, dataset.samples()):
        return True
    return any(intent.is_exhausted for intent in dataset.intents())


def lost_answers(dataset: Dataset, samples: list[Sample], running: str | None, waiting: set[str]) -> int:
    """Intents with neither a sample nor a recorded failure whose fetch is over.

    `running`: nonce of the fetch that runs now; `waiting`: intents whose answers wait for the store.
    """
    safe = {sample.meta.intent for sample in samples} | waiting
    return sum(
        1
        for intent in dataset.intents()
        if intent.outcome is None and intent.id not in safe and intent.lease != running
    )


def collection_status(pipeline: Pipeline, dataset: Dataset, waiting: set[str]) -> dict[str, Json]:
    """The answer of GET fetch-batch/<pipeline>. `waiting`: intents whose answers wait for the store."""
    samples, source = dataset.samples(), dataset.source()
    missing = missing_batches(pipeline, samples)
    complete = is_complete(pipeline, dataset)
    batches = sorted({sample.batch for sample in samples})
    reasons = Counter(
        (rejected.field, rejected.detail) for sample in samples for rejected in sample.meta.rejected
    ).most_common(MAX_REASONS)
    failures = Counter(intent.failure for intent in dataset.intents() if intent.failure is not None)
    lost = lost_answers(dataset, samples, holder_nonce(dataset.store, keys.lease(pipeline.name, "fetch")), waiting)
    return {
        "pipeline": pipeline.name,
        "source": None if source is None else source.model_dump(exclude={"identity"}),
        "complete": complete,
        "batches": [_batch(number, samples) for number in batches],
        "missing_batches": missing,
        "samples": len(samples),
        "examples": count_examples(samples),
        "lost_answers": lost,
        "waiting_answers": len(waiting),
        "failures": [{"detail": detail, "count": count} for detail, count in failures.most_common()],
        "quarantine": {
            "rows": sum(sample.meta.rejected_rows for sample in samples),
            "reasons": [{"field": field, "detail": detail, "count": count} for (field, detail), count in reasons],
        },
        "executions": [
            execution.record.model_dump(include=SHOWN)
            for execution in history(dataset.store, pipeline.name, FetchRecord)
        ],
        "message": _message(complete, samples, missing, lost, len(waiting)),
    }


def _batch(number: int, samples: list[Sample]) -> dict[str, Json]:
    own = [sample for sample in samples if sample.batch == number]
    return {"number": number, "samples": len(own), "examples": count_examples(own)}


def _message(complete: bool, samples: list[Sample], missing: list[int], lost: int, waiting: int) -> str:
    """The state in a sentence."""
    if complete and not samples:
        return "complete, but the source never gave any data: there is nothing to train on"
    message = "complete" if complete else "collecting" if samples else "nothing collected yet"
    if missing and samples:
        message += f"; missing batches: {', '.join(map(str, missing))}"
    if waiting:
        message += f"; {waiting} answers of the source wait for the object store"
    if lost:
        message += f"; {lost} answers were lost between the source and the store"
    return message
