"""classify: `GET /` lists the pipelines, `GET /<pipeline>` is the model card, `POST /<pipeline>` predicts."""

from __future__ import annotations

from flask import Flask, Response, request

from classify.champions import Champions, empty_downloads
from classify.inputs import checked_files
from classify.model_card import model_card
from classify.openapi import OPENAPI
from classify.predict import Call, Predictor
from classify.settings import ClassifySettings
from classify.slots import Slots
from common.json_types import JsonObject
from common.pipeline_files import read_pipeline_heads
from common.pipelines import pick
from common.web import answer, make_app


def check(settings: ClassifySettings) -> None:
    """Check the pipeline files and delete unfinished downloads before workers start. Raises WrongSettings."""
    read_pipeline_heads(settings.pipelines)
    empty_downloads(settings)


def create_app(settings: ClassifySettings, champions: Champions | None = None) -> Flask:
    """The Flask app, with its background refresh running. Raises WrongSettings."""
    pipelines = read_pipeline_heads(settings.pipelines)
    champions = champions or Champions(settings, pipelines)
    app = make_app("classify", settings, OPENAPI, champions.not_ready, cors_methods=("GET", "POST"))
    slots = Slots(settings.queue_s)
    predictor = Predictor(pipelines, champions, slots.compute, lambda: slots.begin_stream(request.environ))
    champions.start()

    @app.get("/")
    def index() -> Response:
        return answer({"pipelines": [entry(name) for name in pipelines]})

    def entry(name: str) -> JsonObject:
        pipeline, champion = pipelines[name], champions.states[name].champion
        return {
            "name": name,
            "kind": pipeline.kind,
            "title": pipeline.title.model_dump(),
            "ready": champion is not None,
            "version": champion.version if champion else None,
        }

    @app.get("/<name>")
    def card(name: str) -> Response:
        pick(pipelines, name)
        return answer(model_card(name, champions.get(name), champions.states[name], settings))

    @app.post("/<name>")
    def classify(name: str) -> Response:
        query, accept = request.query_string.decode("latin1"), request.headers.get("Accept", "")
        files = None
        if request.mimetype == "multipart/form-data" and pick(pipelines, name).kind == "image":
            files = checked_files([file.read() for file in request.files.getlist("image")])
        body = b"" if files else request.get_data()
        return predictor.predict(Call(name, query, request.mimetype, accept, body, files))

    return app
