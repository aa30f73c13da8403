"""One fetch of one pipeline: under its lease, no more often than its min_interval_s, recorded."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.datasets import Dataset
from common.errors import AlreadyRunning, Conflict, SourceChanged, SourceUnavailable, TooSoon
from common.executions import begin, history, timestamp
from common.leases import acquire
from common.objects import Objects
from common.pipelines import Pipeline, resolve
from common.settings import Settings
from fetch_batch.batch_api import BatchApi
from fetch_batch.images import collect_images
from fetch_batch.state import is_complete
from fetch_batch.table import collect_table
from fetch_batch.tally import Tally
from fetch_batch.waiting import Waiting


@dataclass
class Collector:
    """Fetches into one object store; keeps what it has read of each dataset."""

    settings: Settings
    objects: Objects
    pipelines: Mapping[str, Pipeline]
    _datasets: dict[str, Dataset] = field(default_factory=dict)

    def dataset(self, name: str) -> Dataset:
        return self._datasets.setdefault(name, Dataset(self.objects, name))

    def waiting(self, name: str) -> Waiting:
        return Waiting(self.settings, name)

    def collect(self, pipeline: Pipeline, until: float) -> dict[str, Any]:
        """Fetch now; the result as fetch-batch answers it. Raises StoreUnavailable, SourceChanged."""
        dataset = self.dataset(pipeline.name)
        complete = pipeline.source.type == "batch-api" and is_complete(pipeline, dataset)
        try:
            named = self._named(pipeline)
        except SourceUnavailable as error:
            if not complete:
                return result_of(pipeline, "source-unavailable", error.detail)
            named = None
        stored = dataset.source()
        if stored is not None and named is not None and {key: stored[key] for key in named} != named:
            raise SourceChanged(_changed(pipeline.name, stored, named))
        if named is None or (complete and not self.waiting(pipeline.name).intents()):
            return result_of(pipeline, "complete", "the collection is complete")
        interval = self.settings.min_interval_s or pipeline.source.min_interval_s
        key = f"jobs/{pipeline.name}/fetch.json"
        try:
            lease = acquire(self.objects, key, f"fetch-batch {timestamp()}", self.settings.lease_s, interval)
        except TooSoon as error:
            return result_of(pipeline, "too-soon", error.detail)
        except AlreadyRunning as error:
            return result_of(pipeline, "too-soon", f"another fetch is at it: {error.detail}")
        with lease:
            return self._fetch(pipeline, dataset, named, lease.nonce, until)

    def _named(self, pipeline: Pipeline) -> dict[str, Any]:
        """The source that pipeline file and environment name. Raises SourceUnavailable if a variable is missing."""
        source, environment = pipeline.source, self.settings.environment
        location = resolve(source.url or source.path, environment)
        params = {key: resolve(value, environment) for key, value in source.params.items()}
        return {"type": source.type, "location": location, "params": params}

    def _fetch(
        self, pipeline: Pipeline, dataset: Dataset, named: dict[str, Any], nonce: str, until: float
    ) -> dict[str, Any]:
        last = None
        for last in history(self.objects, pipeline.name, "fetch-batch", most=1):
            if last.body["state"] == "running":  # we hold the lease, so whoever wrote this is gone
                with contextlib.suppress(Conflict):  # it was only slow, and has just ended it itself
                    last.end("interrupted", message="the process ended before the fetch did")
        tally = Tally()
        first = {"status": None, "lease": nonce, **tally.counts(), "message": ""}
        record = begin(self.objects, pipeline.name, "fetch-batch", first)
        status = None
        try:
            self._from_source(pipeline, dataset, named, tally, nonce, until)
            status = tally.status()
        except SourceUnavailable as error:
            tally.message, status = error.detail, "collected" if tally.stored else "source-unavailable"
        except SourceChanged as error:
            tally.message, status = error.detail, "source-unavailable"
            raise
        finally:
            state = "finished" if status else "interrupted"
            with contextlib.suppress(Conflict):  # a later fetch that took our expired lease has closed it
                record.end(state, status=status, **tally.counts(), message=tally.message)
        if status == "complete" and last is not None and last.body["status"] == "complete":
            self.objects.delete(record.key)  # looked again and found nothing new: one such record is enough
        return _result(pipeline, status, tally)

    def _from_source(
        self, pipeline: Pipeline, dataset: Dataset, named: dict[str, Any], tally: Tally, nonce: str, until: float
    ) -> None:
        source, location, params = pipeline.source, named["location"], named["params"]
        stored = dataset.source()

        def on_source(made_up: bool) -> None:
            nonlocal stored
            if stored is None:
                stored = {**named, "made_up": made_up, "since": timestamp()}
                try:
                    dataset.set_source(stored)
                except Conflict:
                    stored = dataset.source()
            if stored is not None and stored["made_up"] != made_up:
                raise SourceChanged(_changed(pipeline.name, stored, {**named, "made_up": made_up}))

        if source.type == "batch-api":
            wanted = self.settings.samples_per_batch or source.samples_per_batch
            BatchApi(pipeline, dataset, location, params, self.waiting(pipeline.name)).collect(
                tally, nonce, wanted, until, self.settings.source_timeout_s, on_source
            )
        elif source.type == "table":
            collect_table(pipeline, dataset, location, self.settings, tally, on_source)
        else:
            collect_images(pipeline, dataset, location, self.settings, tally, until, on_source)


def _result(pipeline: Pipeline, status: str | None, tally: Tally) -> dict[str, Any]:
    return {"pipeline": pipeline.name, "status": status, **tally.counts(), "training": None, "message": tally.message}


def result_of(pipeline: Pipeline, status: str, message: str) -> dict[str, Any]:
    """The result of a fetch that asked for nothing."""
    return _result(pipeline, status, Tally(message=message))


def _changed(pipeline: str, stored: dict[str, Any], named: dict[str, Any]) -> str:
    def told(source: dict[str, Any]) -> str:
        kind = " (made-up data)" if source.get("made_up") else ""
        return f"{source['location']} {json.dumps(source['params'])}{kind}"

    return (
        f"the stored data of {pipeline} come from {told(stored)}, but its source is now {told(named)}. Nothing was "
        f"fetched, so that the two are not mixed: set the old source again, or use another SABUESO_STORE (or --home), "
        f"or move datasets/{pipeline}/ away."
    )


def deadline(seconds: float) -> float:
    return time.monotonic() + seconds
