"""classify: `GET /` the pipelines, `GET /<pipeline>` the model card, `POST /<pipeline>` predictions."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request

from classify.answers import Answers, Call
from classify.card import model_card
from classify.champions import Champions
from classify.inputs import checked_files
from classify.openapi import OPENAPI
from common.pipelines import pick, read_pipelines
from common.settings import Settings
from common.web import answer, make_app


def create_app(settings: Settings, champions: Champions | None = None) -> Flask:
    """The Flask app, its background refresh started. Raises WrongSettings."""
    pipelines = read_pipelines(settings.pipelines)
    kept = champions or Champions(settings, pipelines)
    app = make_app("classify", settings, OPENAPI, kept.missing)
    admission = app.extensions["admission"]
    answers = Answers(pipelines, kept, admission.slot, lambda: admission.begin_stream(request.environ))
    kept.start()

    @app.get("/")
    def index() -> Response:
        return answer(pipelines=[_entry(name) for name in pipelines])

    def _entry(name: str) -> dict[str, Any]:
        pipeline, champion = pipelines[name], kept.slots[name].champion
        version = champion.version if champion else None
        return {
            "name": name,
            "kind": pipeline.kind,
            "title": pipeline.title,
            "ready": champion is not None,
            "version": version,
        }

    @app.get("/<name>")
    def card(name: str) -> Response:
        pick(pipelines, name)
        return answer(**model_card(name, kept.get(name), kept.slots[name], settings))

    @app.post("/<name>")
    def classify(name: str) -> Response:
        query, accept = request.query_string.decode("latin1"), request.headers.get("Accept", "")
        files = None
        if request.mimetype == "multipart/form-data" and pick(pipelines, name).kind == "image":
            files = checked_files([file.read() for file in request.files.getlist("image")])
        body = b"" if files else request.get_data()
        return answers.reply(Call(name, query, request.mimetype, accept, body, files))

    return app
