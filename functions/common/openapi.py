"""Builds OpenAPI 3.1 documents. The schemas of the answers are the files of functions/schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from common.json_types import Json, JsonObject

VERSION = "0.1.0"
SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"


def schemas() -> dict[str, Json]:
    """Every JSON Schema by name; they refer to each other as components of an OpenAPI document."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(SCHEMAS.glob("*.json"))}


def _media_type(schema: str, mimetype: str = "application/json") -> dict[str, JsonObject]:
    return {mimetype: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


PROBLEM: JsonObject = {"description": "problem", "content": _media_type("problem", "application/problem+json")}


def operation(
    identity: str,
    summary: str,
    answer: str,
    *,
    status: int = 200,
    body: JsonObject | None = None,
    body_required: bool = False,
    token: bool = False,
    query: Mapping[str, JsonObject] | None = None,
    csv: bool = False,
    problems: tuple[int, ...] = (),
) -> dict[str, Json]:
    """One operation. `answer`: the name of its schema; `csv`: it also answers text/csv; `problems`: its own errors."""
    types = {**_media_type(answer), **({"text/csv": {"schema": {"type": "string"}}} if csv else {})}
    codes = sorted({*problems, *((401,) if token else ())})
    described: dict[str, Json] = {
        "operationId": identity,
        "summary": summary,
        "responses": {
            str(status): {"description": answer, "content": types},
            **{str(code): PROBLEM for code in codes},
        },
    }
    if body is not None:
        described["requestBody"] = {"content": body, "required": body_required}
    if query:
        described["parameters"] = [{"name": name, "in": "query", **one} for name, one in query.items()]
    if token:
        described["security"] = [{"token": []}]
    return described


def document(name: str, description: str, paths: Mapping[str, Mapping[str, JsonObject]]) -> dict[str, Json]:
    """The whole document: these paths and those that every function has."""
    text: JsonObject = {"text/plain": {"schema": {"type": "string"}}}
    itself: JsonObject = {"application/json": {"schema": {"type": "object"}}}
    common: dict[str, Mapping[str, JsonObject]] = {
        "/healthz": {"get": operation("is_alive", "Liveness", "health")},
        "/readyz": {"get": operation("is_ready", "Readiness", "health", problems=(503,))},
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Requests, counted and timed",
                "responses": {"200": {"description": "Prometheus's text format", "content": text}},
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "describe",
                "summary": "This document",
                "responses": {"200": {"description": "this document", "content": itself}},
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Sabueso {name}", "description": description, "version": VERSION},
        "servers": [{"url": f"/function/{name}"}],
        "paths": {**{path: _path(path, methods) for path, methods in paths.items()}, **common},
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _path(path: str, methods: Mapping[str, JsonObject]) -> dict[str, Json]:
    """Add the {pipeline} parameter and the errors that every call can get: bad body, worker full."""
    pipeline: JsonObject = {"name": "pipeline", "in": "path", "required": True, "schema": {"type": "string"}}
    described: dict[str, Json] = {"parameters": [pipeline]} if "{pipeline}" in path else {}
    for method, one in methods.items():
        codes = ("400", "413", "503") if method == "post" else ("503",)
        own = cast(JsonObject, one["responses"])
        described[method] = {**one, "responses": {**dict.fromkeys(codes, PROBLEM), **own}}
    return described
