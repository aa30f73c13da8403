"""train: `POST /<pipeline>` starts a job (202), `GET` shows its progress; cancel, promote, rollback."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from common.errors import AlreadyRunning, FieldError, Malformed
from common.json_types import Json
from common.pipeline_files import read_pipelines
from common.pipelines import Pipeline, pick
from common.storage.executions import history, newest
from common.storage.object_store import ObjectStore
from common.storage.open_store import open_store
from common.storage.training_record import TrainingRecord
from common.storage.trainings import is_training
from common.web import answer, json_object, make_app, require_token
from train.openapi import OPENAPI
from train.promote import promote
from train.registry import VersionRegistry
from train.rollback import rollback
from train.settings import TrainSettings
from train.supervisor import Supervisor

SHOWN = {
    *("id", "state", "progress", "stage", "metrics", "decision", "reason", "version", "run_id", "run_url"),
    *("snapshot", "examples", "started", "ended", "resumed_from"),
}


def check(settings: TrainSettings) -> None:
    """What must be right before the worker starts. Raises WrongSettings."""
    read_pipelines(settings.pipelines)
    open_store(settings)


def create_app(settings: TrainSettings, store: ObjectStore | None = None) -> Flask:
    """The Flask app. Raises WrongSettings if settings or pipeline files are invalid."""
    store = store or open_store(settings)
    pipelines = read_pipelines(settings.pipelines)
    supervisor = Supervisor(settings, store)
    registry = VersionRegistry(settings)
    app = make_app("train", settings, OPENAPI)
    app.extensions["before_end"] = supervisor.shut_down

    def status(pipeline: Pipeline) -> dict[str, Json]:
        shown = [_shown(execution.record) for execution in history(store, pipeline.name, TrainingRecord)]
        return {"pipeline": pipeline.name, **(shown[0] if shown else _never_trained()), "history": shown}

    def require_idle(pipeline: Pipeline) -> None:
        """Raises AlreadyRunning if a training could move the alias."""
        if is_training(store, pipeline.name):
            raise AlreadyRunning(
                f"a training of {pipeline.name} is running; wait for it or cancel it, then move the champion"
            )

    @app.post("/<name>")
    def start(name: str) -> Response:
        require_token(settings)
        pipeline = pick(pipelines, name)
        force = _field(json_object(), "force", bool, False)
        try:
            identity = supervisor.start(pipeline, force)
        except AlreadyRunning:
            last = newest(store, name, TrainingRecord)
            running = f"training {last.record.id}" if last else "a training"
            progress = f" ({last.record.stage}, {last.record.progress:.0%})" if last else ""
            raise AlreadyRunning(f"{running} of {name} is running{progress}; see GET train/{name}") from None
        return answer({"id": identity, "state": "running", "pipeline": name}, 202)

    @app.get("/<name>")
    def show(name: str) -> Response:
        return answer(status(pick(pipelines, name)))

    @app.post("/<name>/cancel")
    def cancel(name: str) -> Response:
        require_token(settings)
        pipeline = pick(pipelines, name)
        supervisor.cancel(name)
        return answer(status(pipeline))

    @app.post("/<name>/promote")
    def promote_version(name: str) -> Response:
        require_token(settings)
        pipeline = pick(pipelines, name)
        version = _field(json_object(), "version", int, None)
        require_idle(pipeline)
        previous = promote(store, registry, settings, pipeline, str(version))
        return answer({"pipeline": name, "champion": str(version), "previous": previous})

    @app.post("/<name>/rollback")
    def roll_back(name: str) -> Response:
        require_token(settings)
        require_idle(pick(pipelines, name))
        champion, previous = rollback(store, registry, name)
        return answer({"pipeline": name, "champion": champion, "previous": previous})

    return app


def _shown(record: TrainingRecord) -> dict[str, Json]:
    return record.model_dump(mode="json", include=SHOWN)


def _never_trained() -> dict[str, Json]:
    return {**_shown(TrainingRecord.new(state="idle", stage="")), "id": None, "started": None}


def _field(body: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    """One field of a JSON object. Raises Malformed, naming it and every unknown one."""
    errors = [FieldError(key, "unknown field") for key in body if key != name]
    value = body.get(name, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        errors.append(FieldError(name, f"must be {kind.__name__}"))
    if errors:
        raise Malformed("; ".join(f"{error.field}: {error.detail}" for error in errors), tuple(errors))
    return value
