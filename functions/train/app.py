"""train: `POST /<pipeline>` starts a job (202), `GET` tells of it; cancel, promote, rollback."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from common.errors import AlreadyRunning, FieldError, Malformed
from common.executions import has_ended, history
from common.leases import held_by
from common.objects import Objects, open_objects
from common.pipelines import Pipeline, pick, read_pipelines
from common.registry import Registry
from common.settings import Settings
from common.web import answer, json_body, make_app, need_token
from train.judge.champion import ensure_idle, promote, rollback
from train.launch import FIRST, Launcher
from train.openapi import OPENAPI

SHOWN = (
    *("id", "state", "progress", "stage", "metrics", "decision", "reason", "version", "run_id", "run_url"),
    *("snapshot", "examples", "started", "ended", "resumed_from"),
)
IDLE = {**FIRST, "id": None, "state": "idle", "stage": "", "started": None, "ended": None}


def create_app(settings: Settings, objects: Objects | None = None) -> Flask:
    """The Flask app. Raises WrongSettings if settings or pipeline files can't be used."""
    store = objects or open_objects(settings)
    pipelines = read_pipelines(settings.pipelines)
    launcher = Launcher(settings, store)
    registry = Registry(settings)
    app = make_app("train", settings, OPENAPI)
    app.extensions["before_end"] = launcher.end

    def status(pipeline: Pipeline) -> dict[str, Any]:
        records = [record.body for record in history(store, pipeline.name, "train")]
        newest = records[0] if records else IDLE
        shown = [{key: record.get(key) for key in SHOWN} for record in records]
        return {"pipeline": pipeline.name, **{key: newest.get(key) for key in SHOWN}, "history": shown}

    def busy(pipeline: Pipeline) -> bool:
        held = held_by(store, f"jobs/{pipeline.name}/train.json") is not None
        return held and not has_ended(history(store, pipeline.name, "train", most=1))

    @app.post("/<name>")
    def start(name: str) -> Response:
        need_token(settings)
        pipeline = pick(pipelines, name)
        force = _field(json_body({}), "force", bool, False)
        try:
            identity = launcher.start(pipeline, force)
        except AlreadyRunning:
            running = status(pipeline)
            raise AlreadyRunning(
                f"training {running['id']} of {name} is running ({running['stage']}, {running['progress']:.0%}); "
                f"GET train/{name} tells more"
            ) from None
        return answer(202, id=identity, state="running", pipeline=name)

    @app.get("/<name>")
    def tell(name: str) -> Response:
        return answer(**status(pick(pipelines, name)))

    @app.post("/<name>/cancel")
    def cancel(name: str) -> Response:
        need_token(settings)
        pipeline = pick(pipelines, name)
        launcher.cancel(name)
        return answer(**status(pipeline))

    @app.post("/<name>/promote")
    def promote_version(name: str) -> Response:
        need_token(settings)
        pipeline = pick(pipelines, name)
        version = _field(json_body({}), "version", int, None)
        ensure_idle(busy(pipeline), name)
        previous = promote(store, registry, settings, name, str(version))
        return answer(pipeline=name, champion=str(version), previous=previous)

    @app.post("/<name>/rollback")
    def roll_back(name: str) -> Response:
        need_token(settings)
        ensure_idle(busy(pick(pipelines, name)), name)
        champion, previous = rollback(store, registry, name)
        return answer(pipeline=name, champion=champion, previous=previous)

    return app


def _field(body: Any, name: str, kind: type, default: Any) -> Any:
    """One field of a JSON object. Raises Malformed, naming it."""
    if not isinstance(body, dict):
        raise Malformed("the body must be a JSON object")
    unknown = [FieldError(key, "is not known here") for key in body if key != name]
    value = body.get(name, default)
    wrong = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    if unknown or wrong:
        told = [*unknown, *([FieldError(name, f"must be {kind.__name__}")] if wrong else [])]
        raise Malformed("; ".join(f"{one.field} {one.detail}" for one in told), tuple(told))
    return value
