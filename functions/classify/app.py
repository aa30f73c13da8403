"""classify: `GET /` the pipelines, `GET /<pipeline>` the model card, `POST /<pipeline>` predictions."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from flask import Flask, Response, request

from classify.card import model_card
from classify.champions import Champions
from classify.inputs import read_pictures, read_rows
from classify.openapi import OPENAPI
from common.bundle import Bundle
from common.errors import FieldError, Malformed, Unusable
from common.network import Array, predictions
from common.pipelines import pick, read_pipelines
from common.registry import Registry
from common.settings import Settings
from common.web import answer, make_app


def create_app(settings: Settings, champions: Champions | None = None) -> Flask:
    """The Flask app, its background refresh started. Raises WrongSettings."""
    pipelines = read_pipelines(settings.pipelines)
    kept = champions or Champions(settings, pipelines, Registry(settings))
    app = make_app("classify", settings, OPENAPI, lambda: None if kept.tried else "no look at MLflow has ended")

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
        pick(pipelines, name)
        if request.args:
            raise Malformed(f"unknown parameters: {', '.join(sorted(request.args))}")
        champion = kept.get(name)
        contract = champion.bundle.contract
        if contract["kind"] == "image":
            probabilities, novelty = _classify_pictures(champion.bundle, read_pictures(request))
        else:
            probabilities, novelty = champion.bundle.predict(read_rows(request, contract["columns"]))
        found = predictions(probabilities, novelty, contract)
        if request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv":
            return _csv(found, champion.version)
        return answer(pipeline=name, model={"name": name, "version": champion.version}, predictions=found)

    kept.start()
    return app


def _classify_pictures(bundle: Bundle, files: list[bytes]) -> tuple[Array, Array]:
    """Raises Unusable, naming the picture that is none."""
    arrays = []
    for place, file in enumerate(files):
        try:
            arrays.append(bundle.encode([file])[0])
        except Unusable as error:
            field = "image" if len(files) == 1 else f"image[{place}]"
            raise Unusable(f"{field}: {error.detail}", (FieldError(field, error.detail),)) from None
    return bundle.network.predict(np.stack(arrays))


def _csv(found: list[dict[str, Any]], version: str) -> Response:
    text = io.StringIO(newline="")
    labels = list(found[0]["probabilities"])
    writer = csv.writer(text)
    writer.writerow(["label", "status", "confidence", *(f"probability_{label}" for label in labels), "version"])
    for one in found:
        shares = [one["probabilities"][label] for label in labels]
        writer.writerow([one["label"], one["status"], one["confidence"], *shares, version])
    return Response(text.getvalue(), mimetype="text/csv")
