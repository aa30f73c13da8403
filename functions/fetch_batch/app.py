"""fetch-batch: `POST /` (all pipelines) and `POST /<pipeline>` collect now; `GET /<pipeline>` shows the state."""

from __future__ import annotations

import time

from flask import Flask, Response

from common.pipeline_files import read_pipelines
from common.pipelines import Pipeline, pick
from common.storage.dataset import count_examples
from common.storage.executions import history
from common.storage.object_store import ObjectStore
from common.storage.open_store import open_store
from common.storage.training_record import TrainingRecord
from common.storage.trainings import is_training
from common.web import answer, make_app
from fetch_batch.collect import Collector
from fetch_batch.errors import SourceChanged
from fetch_batch.openapi import OPENAPI
from fetch_batch.result import FetchResult
from fetch_batch.settings import FetchSettings
from fetch_batch.status import collection_status, is_complete
from fetch_batch.trigger import call_train, reason_to_train, utc_now


def check(settings: FetchSettings) -> None:
    """What must be right before the worker starts. Raises WrongSettings."""
    read_pipelines(settings.pipelines)
    open_store(settings)


def create_app(settings: FetchSettings, store: ObjectStore | None = None) -> Flask:
    """The Flask app. Raises WrongSettings if settings or pipeline files are invalid."""
    store = store or open_store(settings)
    pipelines = read_pipelines(settings.pipelines)
    collector = Collector(settings, store, pipelines)
    app = make_app("fetch-batch", settings, OPENAPI)

    def fetch(pipeline: Pipeline, until: float) -> FetchResult:
        result = collector.collect(pipeline, until)
        return result.with_training(trigger(pipeline)) if settings.trigger == "on" else result

    def trigger(pipeline: Pipeline) -> str | None:
        dataset = collector.dataset(pipeline.name)
        busy = is_training(store, pipeline.name)  # first: a training that ends now is then in `attempts` as ended
        attempts = [execution.record for execution in history(store, pipeline.name, TrainingRecord, limit=10)]
        complete, examples = is_complete(pipeline, dataset), count_examples(dataset.samples())
        reason = reason_to_train(pipeline, examples, complete, attempts, busy, utc_now())
        return None if reason is None else f"{reason}: {call_train(pipeline.name, settings)}"

    @app.post("/")
    def collect_all() -> Response:
        results: list[FetchResult] = []
        until = time.monotonic() + settings.fetch_s
        for left, pipeline in zip(range(len(pipelines), 0, -1), pipelines.values(), strict=True):
            now = time.monotonic()
            pipeline_until = now + (until - now) / left  # an equal share of the time that is left
            try:
                results.append(fetch(pipeline, pipeline_until))
            except SourceChanged as error:  # one pipeline's mistake must not keep the others from their data
                results.append(FetchResult.without_fetch(pipeline.name, "source-unavailable", error.detail))
        return _answer(results)

    @app.post("/<name>")
    def collect_one(name: str) -> Response:
        pipeline = pick(pipelines, name)
        return _answer([fetch(pipeline, time.monotonic() + settings.fetch_s)])

    @app.get("/<name>")
    def status(name: str) -> Response:
        pipeline = pick(pipelines, name)
        return answer(collection_status(pipeline, collector.dataset(name), collector.outbox(name).intents()))

    return app


def _answer(results: list[FetchResult]) -> Response:
    return answer({"results": [result.model_dump() for result in results]})
