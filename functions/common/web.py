"""The Flask app of every function: one error boundary, request ids, logs, metrics, health."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from common.asgi import Application
from common.errors import Malformed, MethodNotAllowed, NotFound, SabuesoError, Unauthorized
from common.http import Reply, as_json, begin_request, health, problem, read_json, readiness, too_large
from common.log import REQUEST_ID
from common.settings import Settings
from common.tally import Tally

_HTTP = {404: NotFound, 405: MethodNotAllowed}


def make_app(
    name: str,
    settings: Settings,
    openapi: dict[str, Any],
    ready: Callable[[], str | None] = lambda: None,
    tally: Tally | None = None,
) -> Flask:
    """An app with /healthz, /readyz, /metrics and /openapi.json; `ready` says what is still missing, or None."""
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body
    app.json.sort_keys = False  # type: ignore[attr-defined]
    counts = tally or Tally(name)
    app.extensions["tally"] = counts

    @app.before_request
    def begin() -> None:
        begin_request()
        g.began = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        took = time.perf_counter() - g.began
        counts.end(request.endpoint or "none", request.method, request.path, response.status_code, took)
        response.headers["X-Request-Id"] = REQUEST_ID.get() or ""
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.errorhandler(Exception)
    def boundary(error: Exception) -> Response:
        response = as_response(problem(_known(error, settings)))
        if isinstance(error, HTTPException):
            response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
        return response

    @app.get("/healthz")
    def healthz() -> Response:
        return as_response(health())

    @app.get("/readyz")
    def readyz() -> Response:
        return as_response(readiness(settings, ready()))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(counts.text(), mimetype="text/plain")

    @app.get("/openapi.json")
    def described() -> Response:
        return jsonify(openapi)

    return app


def application_of(app: Flask, settings: Settings) -> Application:
    """The ASGI application of a function all of whose calls are Flask's; `before_end` is an extension of it."""
    return Application(settings, lambda: app, app.extensions["tally"], before_end=app.extensions.get("before_end"))


def _known(error: Exception, settings: Settings) -> Exception:
    """What Flask says of a request (too large, no such address), as one of our errors."""
    if not isinstance(error, HTTPException):
        return error
    if error.code == 413:
        return too_large(settings)
    kind = _HTTP.get(error.code or 500, Malformed if (error.code or 500) < 500 else SabuesoError)
    return kind(error.description or "")


def as_response(reply: Reply) -> Response:
    """The reply as Flask wants it."""
    return Response(reply.body, reply.status, mimetype=reply.mimetype, headers=reply.headers)


def answer(status: int = 200, **body: Any) -> Response:
    """A JSON answer with the request's id."""
    return as_response(as_json(status, **body))


def need_token(settings: Settings) -> None:
    """Raises Unauthorized unless the request carries the secret `train-token`."""
    given = request.headers.get("Authorization", "")
    wanted = f"Bearer {settings.secret('train-token')}"
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Unauthorized("Send the header `Authorization: Bearer TOKEN` with the secret train-token.")


def json_body(default: Any = None) -> Any:
    """The request's body as JSON, or `default` if it is empty. Raises Malformed."""
    raw = request.get_data()
    if not raw.strip() and default is not None:
        return default
    return read_json(raw)
