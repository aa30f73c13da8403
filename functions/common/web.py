"""The Flask app of every function: one error boundary, request ids, logs, metrics, health."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from werkzeug.exceptions import HTTPException

from common.errors import Malformed, MethodNotAllowed, NotFound, SabuesoError, TooLarge, Unauthorized, Unavailable
from common.settings import Settings

LOG = logging.getLogger("sabueso")
_HTTP = {404: NotFound, 405: MethodNotAllowed}
TYPES = "urn:sabueso:problem:"


def make_app(
    name: str, settings: Settings, openapi: dict[str, Any], ready: Callable[[], str | None] = lambda: None
) -> Flask:
    """An app with /healthz, /readyz, /metrics and /openapi.json; `ready` says what is still missing, or None."""
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = int(settings.max_body_mb * 1_000_000)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    registry = CollectorRegistry()
    count = Counter("sabueso_requests", "Requests answered", ["function", "endpoint", "status"], registry=registry)
    seconds = Histogram(
        "sabueso_request_seconds", "Seconds an answer took", ["function", "endpoint"], registry=registry
    )

    @app.before_request
    def begin() -> None:
        g.request_id = secrets.token_hex(8)
        g.began = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        took = time.perf_counter() - g.began
        endpoint = request.endpoint or "none"
        count.labels(name, endpoint, response.status_code).inc()
        seconds.labels(name, endpoint).observe(took)
        response.headers["X-Request-Id"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        if endpoint not in ("healthz", "readyz", "metrics"):
            log(name, request.method, path=request.path, status=response.status_code, ms=round(took * 1000, 1))
        return response

    @app.errorhandler(Exception)
    def boundary(error: Exception) -> Response:
        response = problem(_known(error))
        if isinstance(error, HTTPException):
            response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
        return response

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @app.get("/readyz")
    def readyz() -> Response:
        missing = ready()
        if missing is not None:
            raise Unavailable(f"not ready yet: {missing}")
        return jsonify(status="ok", deployment=settings.deployment)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), mimetype="text/plain")

    @app.get("/openapi.json")
    def described() -> Response:
        return jsonify(openapi)

    return app


def _known(error: Exception) -> SabuesoError:
    """Any exception as one of ours; what nobody foresaw is logged whole and told as an internal error."""
    if isinstance(error, SabuesoError):
        return error
    if isinstance(error, HTTPException):
        if error.code == 413:
            most = (current_app.config["MAX_CONTENT_LENGTH"] or 0) / 1e6
            return TooLarge(f"The body may have {most:g} MB at most (SABUESO_MAX_BODY_MB).")
        kind = _HTTP.get(error.code or 500, Malformed if (error.code or 500) < 500 else SabuesoError)
        return kind(error.description or "")
    LOG.exception("unforeseen %s", type(error).__name__)
    return SabuesoError("Something went wrong on our side; the log of this function tells more by the request_id.")


def problem(error: SabuesoError) -> Response:
    """The problem document of an error (RFC 9457)."""
    body = {
        "type": TYPES + error.kind,
        "status": error.status,
        "title": error.title,
        "detail": error.detail,
        "request_id": g.request_id,
        "errors": [one.as_dict() for one in error.errors],
    }
    response = Response(json.dumps(body), error.status, mimetype="application/problem+json")
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def answer(status: int = 200, **body: Any) -> Response:
    """A JSON answer with the request's id."""
    response = jsonify(**body, request_id=g.request_id)
    response.status_code = status
    return response


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
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def log(function: str, event: str, **facts: Any) -> None:
    """One JSON line on standard error; never a secret or a body."""
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "function": function, "event": event}
    print(
        json.dumps({**line, **facts, "request_id": g.get("request_id")} if g else {**line, **facts}),
        file=sys.stderr,
        flush=True,
    )
