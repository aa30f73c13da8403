"""The Flask app of every function: one error boundary, request ids, log, metrics, health, admission."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request
from flask_cors import CORS
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, UnicodeConverter

from common.admission import Admission
from common.errors import Malformed, MethodNotAllowed, NotFound, SabuesoError, TooLarge, Unauthorized, Unavailable
from common.json_reading import read_json
from common.json_types import Json, JsonObject
from common.logging import CALL_ID, LOG, REQUEST_ID, log
from common.metrics import count_request, exposition
from common.pipelines import RESERVED
from common.settings import Settings

TYPES = "urn:sabueso:problem:"
# Polled every few seconds: neither logged nor refused.
PROBES = ("healthz", "readyz", "metrics")
MAX_CALL_ID = 100
# Seconds for which a browser remembers the answer to a preflight.
PREFLIGHT_S = 3600
to_json = json.JSONEncoder(separators=(",", ":")).encode
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HTTP = {404: NotFound, 405: MethodNotAllowed, 413: TooLarge}


class PipelineName(UnicodeConverter):
    """`<name>` in a path: anything but the paths of every function, which else would seem to allow POST too."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map)
        self.regex = rf"(?!(?:{'|'.join(map(re.escape, RESERVED))})$)[^/]+"


def make_app(
    name: str,
    settings: Settings,
    openapi: JsonObject,
    not_ready: Callable[[], str | None] = lambda: None,
    cors_methods: tuple[str, ...] = ("GET",),
) -> Flask:
    """An app with /healthz, /readyz, /metrics and /openapi.json. `not_ready` says what is missing, or None.

    Pages of other origins may use `cors_methods`.
    """
    app = Flask(name, static_folder=None)
    app.url_map.converters["default"] = PipelineName
    app.url_map.merge_slashes = False  # a redirect would lead out of the gateway's prefix
    if settings.cors_origins:
        CORS(
            app,
            origins=settings.cors_origins,
            methods=cors_methods,
            allow_headers=["Content-Type"],  # not Authorization: tokens are not for pages
            expose_headers=["Retry-After", "X-Request-Id"],
            max_age=PREFLIGHT_S,
            send_wildcard=True,
            always_send=False,
            vary_header=False,  # flask-cors sets it only for listed origins, so a cache would mix the answers
        )
    admission = Admission(settings)
    app.wsgi_app = admission.wrap(app.wsgi_app)  # type: ignore[method-assign, assignment]

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        REQUEST_ID.set(secrets.token_hex(8))
        CALL_ID.set(request.headers.get("X-Call-Id", "")[:MAX_CALL_ID] or None)
        if request.endpoint in PROBES or request.method == "OPTIONS":
            return
        if request.content_length or "Transfer-Encoding" in request.headers:
            request.environ["wsgi.input"] = admission.read_body(request.environ)
        else:
            admission.take_place(request.environ)

    @app.after_request
    def finish(response: Response) -> Response:
        took = time.perf_counter() - g.began
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in METHODS else "other"
        count_request(name, route, method, response.status_code, took)
        if response.status_code >= 400 and request.endpoint not in PROBES:
            status, ms = response.status_code, round(took * 1000, 1)
            log("request failed", method=request.method, path=request.path, status=status, ms=ms)
        response.headers["X-Request-Id"] = REQUEST_ID.get() or ""
        response.headers["X-Content-Type-Options"] = "nosniff"
        if settings.cors_origins:
            response.vary.add("Origin")
        return response

    @app.errorhandler(Exception)
    def boundary(error: Exception) -> Response:
        response = problem(_own_error(error))
        if isinstance(error, HTTPException):
            response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
        return response

    @app.get("/healthz")
    def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz")
    def readyz() -> Response:
        missing = not_ready()
        if missing is not None:
            raise Unavailable(f"not ready yet: {missing}")
        return _json({"status": "ok", "deployment": settings.deployment})

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(exposition(), mimetype="text/plain")

    @app.get("/openapi.json")
    def described() -> Response:
        return _json(openapi)

    return app


def _own_error(error: Exception) -> Exception:
    """Flask's errors (such as 404) as ours."""
    if not isinstance(error, HTTPException):
        return error
    kind = _HTTP.get(error.code or 500, Malformed if (error.code or 500) < 500 else SabuesoError)
    return kind(error.description or "")


def problem(error: Exception) -> Response:
    """The problem document of an error (RFC 9457). An unexpected error is logged with its traceback."""
    if not isinstance(error, SabuesoError):
        LOG.error("unexpected error", exc_info=error)
        error = SabuesoError("An internal error occurred; the function's log has details under this request_id.")
    body = {
        "type": TYPES + error.kind,
        "status": error.status,
        "title": error.title,
        "detail": error.detail,
        "request_id": REQUEST_ID.get(),
        "errors": [one.as_dict() for one in error.errors],
    }
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(body), error.status, headers, mimetype="application/problem+json")


def _json(body: Json, status: int = 200) -> Response:
    return Response(to_json(body) + "\n", status, mimetype="application/json")


def answer(body: JsonObject, status: int = 200) -> Response:
    """A JSON answer with the request's id."""
    return _json({**body, "request_id": REQUEST_ID.get()}, status)


def require_token(settings: Settings) -> None:
    """Raises Unauthorized unless the request carries the secret `train-token`."""
    given = request.headers.get("Authorization", "")
    expected = f"Bearer {settings.secret('train-token')}"
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Unauthorized("Send the header `Authorization: Bearer TOKEN` with the secret train-token.")


def json_object() -> dict[str, Any]:
    """The request's body as a JSON object, empty if there is none. Raises Malformed."""
    raw = request.get_data()
    body = read_json(raw) if raw.strip() else {}
    if not isinstance(body, dict):
        raise Malformed("the body must be a JSON object")
    return body
