"""fetch-batch: `POST /` (all pipelines) and `POST /<pipeline>` collect now; `GET /<pipeline>` tells the state."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from common.datasets import distinct_examples
from common.errors import SourceChanged
from common.executions import has_ended, history
from common.leases import held_by
from common.objects import Objects, open_objects
from common.pipelines import Pipeline, pick, read_pipelines
from common.settings import Settings
from common.web import answer, make_app
from fetch_batch.collect import Collector, deadline, result_of
from fetch_batch.openapi import OPENAPI
from fetch_batch.state import describe, is_complete
from fetch_batch.trigger import ask_train, reason_to_train, utc_now


def create_app(settings: Settings, objects: Objects | None = None) -> Flask:
    """The Flask app. Raises WrongSettings if settings or pipeline files can't be used."""
    store = objects or open_objects(settings)
    pipelines = read_pipelines(settings.pipelines)
    collector = Collector(settings, store, pipelines)
    app = make_app("fetch-batch", settings, OPENAPI)

    def fetch(pipeline: Pipeline, until: float) -> dict[str, Any]:
        result = collector.collect(pipeline, until)
        if settings.trigger == "on":
            result["training"] = _trigger(pipeline)
        return result

    def _trigger(pipeline: Pipeline) -> str | None:
        dataset = collector.dataset(pipeline.name)
        held = held_by(store, f"jobs/{pipeline.name}/train.json") is not None
        trainings = history(store, pipeline.name, "train", most=10)
        attempts, busy = [record.body for record in trainings], held and not has_ended(trainings)
        complete = is_complete(pipeline, dataset)
        reason = reason_to_train(pipeline, distinct_examples(dataset.samples()), complete, attempts, busy, utc_now())
        return None if reason is None else f"{reason}: {ask_train(pipeline.name, settings)}"

    @app.post("/")
    def collect_all() -> Response:
        results = []
        until = deadline(settings.fetch_s)
        for left, pipeline in zip(range(len(pipelines), 0, -1), pipelines.values(), strict=True):
            share = deadline((until - deadline(0)) / left)
            try:
                results.append(fetch(pipeline, share))
            except SourceChanged as error:  # one pipeline's mistake must not keep the others from their data
                results.append(result_of(pipeline, "source-unavailable", error.detail))
        return answer(results=results)

    @app.post("/<name>")
    def collect_one(name: str) -> Response:
        return answer(results=[fetch(pick(pipelines, name), deadline(settings.fetch_s))])

    @app.get("/<name>")
    def state(name: str) -> Response:
        pipeline = pick(pipelines, name)
        return answer(**describe(pipeline, collector.dataset(name), store, collector.waiting(name).intents()))

    return app
