"""Pieces of an OpenAPI 3.1 document; the answers' shapes are the JSON Schemas of tests/contract/schemas, by name."""

from __future__ import annotations

from typing import Any

VERSION = "0.1.0"


def call(
    summary: str,
    answer: str,
    *,
    status: int = 200,
    body: dict[str, Any] | None = None,
    token: bool = False,
    query: dict[str, dict[str, Any]] | None = None,
    problems: tuple[int, ...] = (),
) -> dict[str, Any]:
    """One operation: what it does, the name of its answer's schema, its parameters, the errors to expect."""
    codes = sorted({*problems, *((401,) if token else ())})
    told: dict[str, Any] = {
        "summary": summary,
        "responses": {
            str(status): {"description": answer, "content": {"application/json": {"schema": {"title": answer}}}},
            **{
                str(code): {
                    "description": "problem",
                    "content": {"application/problem+json": {"schema": {"title": "problem"}}},
                }
                for code in codes
            },
        },
    }
    if body is not None:
        told["requestBody"] = {"content": body}
    if query:
        told["parameters"] = [{"name": name, "in": "query", **one} for name, one in query.items()]
    if token:
        told["security"] = [{"token": []}]
    return told


def document(name: str, description: str, paths: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The whole document; paths with {pipeline} get their parameter."""
    parameter = {"name": "pipeline", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Sabueso {name}", "description": description, "version": VERSION},
        "servers": [{"url": f"/function/{name}"}],
        "paths": {
            path: {**({"parameters": [parameter]} if "{pipeline}" in path else {}), **calls}
            for path, calls in paths.items()
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
