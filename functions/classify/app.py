"""classify: `GET /` lists the pipelines, `GET /<pipeline>` is the model card, `POST /<pipeline>` predicts."""

from __future__ import annotations

import io

from flask import Flask, Request, Response, request

from classify.champions import Champions, empty_downloads
from classify.model_card import model_card
from classify.openapi import OPENAPI
from classify.predict import Call, Predictor
from classify.settings import ClassifySettings
from classify.slots import Slots
from common.json_types import JsonObject
from common.pipeline_files import read_pipeline_heads
from common.pipelines import pick
from common.web import answer, make_app


class FormRequest(Request):
    """Keeps uploaded files in memory: the scratch folder may be memory too, and would hold them a second time."""

    def _get_file_stream(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO()


def check(settings: ClassifySettings) -> None:
    """Check the pipeline files and delete unfinished downloads before workers start. Raises WrongSettings."""
    read_pipeline_heads(settings.pipelines)
    empty_downloads(settings)


def create_app(settings: ClassifySettings, champions: Champions | None = None) -> Flask:
    """The Flask app, with its background refresh running. Raises WrongSettings."""
    pipelines = read_pipeline_heads(settings.pipelines)
    champions = champions or Champions(settings, pipelines)
    app = make_app("classify", settings, OPENAPI, champions.not_ready, cors_methods=("GET", "POST"))
    app.request_class = FormRequest
    predictor = Predictor(pipelines, champions, settings, Slots(settings.queue_s, settings.scratch))
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
            files = [file.read() for file in request.files.getlist("image")]
        body = request.get_data() if files is None else b""
        return predictor.predict(Call(name, query, request.mimetype, accept, body, request.environ, files))

    return app
