"""Pieces of an OpenAPI 3.1 document. The shapes of the answers are the JSON Schemas of functions/schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VERSION = "0.1.0"
SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"


def schemas() -> dict[str, Any]:
    """Every JSON Schema by its name; they refer to each other as in a document of OpenAPI."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(SCHEMAS.glob("*.json"))}


def content(schema: str, mimetype: str = "application/json") -> dict[str, Any]:
    return {"content": {mimetype: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


PROBLEM = {"description": "problem", **content("problem", "application/problem+json")}


def call(
    identity: str,
    summary: str,
    answer: str,
    *,
    status: int = 200,
    body: dict[str, Any] | None = None,
    token: bool = False,
    query: dict[str, dict[str, Any]] | None = None,
    csv: bool = False,
    problems: tuple[int, ...] = (),
) -> dict[str, Any]:
    """One operation: its id, what it does, the name of its answer's schema, its parameters, the errors of its own.

    `csv`: it answers with that too, where the caller accepts it.
    """
    described = {"description": answer, **content(answer)}
    if csv:
        described["content"]["text/csv"] = {"schema": {"type": "string"}}
    codes = sorted({*problems, *((401,) if token else ())})
    told: dict[str, Any] = {
        "operationId": identity,
        "summary": summary,
        "responses": {str(status): described, **{str(code): PROBLEM for code in codes}},
    }
    if body is not None:
        told["requestBody"] = {"content": body}
    if query:
        told["parameters"] = [{"name": name, "in": "query", **one} for name, one in query.items()]
    if token:
        told["security"] = [{"token": []}]
    return told


def document(name: str, description: str, paths: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The whole document; paths with {pipeline} get their parameter, and what every function answers is added."""
    parameter = {"name": "pipeline", "in": "path", "required": True, "schema": {"type": "string"}}
    text = {"description": "Prometheus's text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    itself = {"description": "this document", "content": {"application/json": {"schema": {"type": "object"}}}}
    for calls in paths.values():
        for method, operation in calls.items():  # any may be refused for want of room, and any body may be a wrong one
            for code in ("400", "413", "503") if method == "post" else ("503",):
                operation["responses"].setdefault(code, PROBLEM)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Sabueso {name}", "description": description, "version": VERSION},
        "servers": [{"url": f"/function/{name}"}],
        "paths": {
            **{
                path: {**({"parameters": [parameter]} if "{pipeline}" in path else {}), **calls}
                for path, calls in paths.items()
            },
            "/healthz": {"get": call("is_alive", "Whether the process answers", "health")},
            "/readyz": {"get": call("is_ready", "Whether it can do its work", "health", problems=(503,))},
            "/metrics": {
                "get": {"operationId": "metrics", "summary": "Requests, counted and timed", "responses": {"200": text}}
            },
            "/openapi.json": {
                "get": {"operationId": "describe", "summary": "This document", "responses": {"200": itself}}
            },
        },
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
