"""One fetch of one pipeline: under its lease, no more often than its min_interval_s, recorded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.errors import AlreadyRunning, Conflict, TooSoon
from common.pipelines import Pipeline
from common.storage import keys
from common.storage.dataset import Dataset, SourceDocument
from common.storage.executions import Execution, begin, newest
from common.storage.leases import LeaseHeld, acquire
from common.storage.object_store import ObjectStore
from common.timestamps import timestamp
from fetch_batch.errors import SourceChanged, SourceUnavailable
from fetch_batch.fetch_stats import FetchStats
from fetch_batch.outbox import Outbox
from fetch_batch.record import FetchRecord
from fetch_batch.result import FetchResult
from fetch_batch.settings import FetchSettings
from fetch_batch.sources.batch_api import BatchApi
from fetch_batch.sources.images import collect_images
from fetch_batch.sources.table import collect_table
from fetch_batch.sources.variables import ConfiguredSource, configured_source
from fetch_batch.status import is_complete

HOLDER = "fetch-batch"


@dataclass
class Collector:
    """Fetches into one object store; keeps what it has read of each dataset."""

    settings: FetchSettings
    store: ObjectStore
    pipelines: Mapping[str, Pipeline]
    _datasets: dict[str, Dataset] = field(default_factory=dict)

    def dataset(self, name: str) -> Dataset:
        return self._datasets.setdefault(name, Dataset(self.store, name))

    def outbox(self, name: str) -> Outbox:
        return Outbox(self.settings, name)

    def collect(self, pipeline: Pipeline, until: float) -> FetchResult:
        """Fetch now. Raises StoreUnavailable, SourceChanged."""
        dataset = self.dataset(pipeline.name)
        complete = pipeline.source.type == "batch-api" and is_complete(pipeline, dataset)
        try:
            source = configured_source(pipeline.source, self.settings.environment)
        except SourceUnavailable as error:
            if not complete:
                return FetchResult.without_fetch(pipeline.name, "source-unavailable", error.detail)
            source = None
        if source is not None:
            stored = dataset.upgraded_source(source.document)
            if stored is not None and not stored.is_same_place(source.document):
                raise SourceChanged(_describe_change(pipeline.name, stored, source.document))
        if source is None or (complete and not self.outbox(pipeline.name).intents()):
            return FetchResult.without_fetch(pipeline.name, "complete", "the collection is complete")
        interval = self.settings.min_interval_s or pipeline.source.min_interval_s
        key = keys.lease(pipeline.name, "fetch")
        try:
            lease = acquire(self.store, key, f"{HOLDER} {timestamp()}", self.settings.lease_s, interval)
        except TooSoon as error:
            return FetchResult.without_fetch(pipeline.name, "too-soon", error.detail)
        except LeaseHeld as error:
            since = error.holder.removeprefix(f"{HOLDER} ")
            return FetchResult.without_fetch(pipeline.name, "too-soon", f"another fetch has been running since {since}")
        except AlreadyRunning:
            return FetchResult.without_fetch(pipeline.name, "too-soon", "another fetch has just started")
        with lease:
            return self._fetch(pipeline, dataset, source, lease.nonce, until)

    def _fetch(
        self, pipeline: Pipeline, dataset: Dataset, source: ConfiguredSource, nonce: str, until: float
    ) -> FetchResult:
        last = self._close_interrupted(pipeline)
        stats, status = FetchStats(), None
        execution = begin(self.store, pipeline.name, FetchRecord.new(lease=nonce))
        try:
            self._from_source(pipeline, dataset, source, stats, nonce, until)
            status = stats.status()
        except SourceUnavailable as error:
            stats.message, status = error.detail, "collected" if stats.stored else "source-unavailable"
        except SourceChanged as error:
            stats.message, status = error.detail, "source-unavailable"
            raise
        finally:
            state = "finished" if status else "interrupted"
            with contextlib.suppress(Conflict):  # a later fetch that took our expired lease has closed it
                execution.end(state, status=status, **stats.counts(), message=stats.message)
        if status == "complete" and last is not None and last.record.status == "complete":
            self.store.delete(execution.key)  # nothing new again: one such record is enough
        return FetchResult.of(pipeline.name, status, stats)

    def _close_interrupted(self, pipeline: Pipeline) -> Execution[FetchRecord] | None:
        """The last execution. If it still says running, its process died: we hold the lease."""
        last = newest(self.store, pipeline.name, FetchRecord)
        if last is not None and last.record.is_running:
            with contextlib.suppress(Conflict):  # it was only slow, and has just ended it itself
                last.end("interrupted", message="the process ended before the fetch did")
        return last

    def _from_source(
        self,
        pipeline: Pipeline,
        dataset: Dataset,
        source: ConfiguredSource,
        stats: FetchStats,
        nonce: str,
        until: float,
    ) -> None:
        check, settings = _source_check(pipeline, dataset, source.document), self.settings
        if source.type == "batch-api":
            wanted = settings.samples_per_batch or pipeline.source.samples_per_batch
            api = BatchApi(pipeline, dataset, source, self.outbox(pipeline.name), check)
            api.collect(stats, nonce, wanted, until, settings.source_timeout_s)
        elif source.type == "table":
            collect_table(pipeline, dataset, source.location, settings, stats, check)
        else:
            collect_images(pipeline, dataset, source.location, settings, stats, until, check)


def _source_check(pipeline: Pipeline, dataset: Dataset, source: SourceDocument) -> Callable[[bool], None]:
    """Called with whether the data are made up, before the first are stored. Raises SourceChanged."""
    stored = dataset.source()

    def check(made_up: bool) -> None:
        nonlocal stored
        if stored is None:
            stored = source.model_copy(update={"made_up": made_up, "since": timestamp()})
            try:
                dataset.set_source(stored)
            except Conflict:
                stored = dataset.source()
        if stored is not None and stored.made_up != made_up:
            given = source.model_copy(update={"made_up": made_up})
            raise SourceChanged(_describe_change(pipeline.name, stored, given))

    return check


def _describe_change(pipeline: str, stored: SourceDocument, given: SourceDocument) -> str:
    def describe(source: SourceDocument) -> str:
        params = ", ".join(f"{name} = {json.dumps(value)}" for name, value in source.params.items())
        return f"{source.location}{params and f' ({params})'}{' (made-up data)' if source.made_up else ''}"

    was, now = describe(stored), describe(given)
    renewed = ""
    if not stored.is_same_place(given) and stored.location == given.location:
        renewed = (
            " The difference is in its query or params, whose values may be secret. If it is the same source with a "
            f"new key, delete {keys.source(pipeline)}: the next fetch continues."
        )
    return (
        f"the stored data of {pipeline} come from {was}, but its source is now {now}. Nothing "
        "was fetched, so that the two are not mixed: restore the old source, use another SABUESO_STORE (or --home), or "
        f"move {keys.dataset(pipeline)} away.{renewed}"
    )
