"""The Flask app of every function: one error boundary, request ids, log, metrics, health, admission."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from common.admission import Admission
from common.errors import Malformed, MethodNotAllowed, NotFound, SabuesoError, TooLarge, Unauthorized, Unavailable
from common.log import CALL_ID, LOG, REQUEST_ID, log
from common.metrics import count_request, exposition
from common.settings import Settings

TYPES = "urn:sabueso:problem:"
# Asked every few seconds: neither logged nor refused.
QUIET = ("healthz", "readyz", "metrics")
LONGEST_CALL_ID = 100
as_text = json.JSONEncoder(separators=(",", ":")).encode
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HTTP = {404: NotFound, 405: MethodNotAllowed, 413: TooLarge}


def make_app(
    name: str, settings: Settings, openapi: dict[str, Any], ready: Callable[[], str | None] = lambda: None
) -> Flask:
    """An app with /healthz, /readyz, /metrics and /openapi.json; `ready` says what is still missing, or None."""
    app = Flask(name, static_folder=None)
    admission = app.extensions["admission"] = Admission(settings)
    app.wsgi_app = admission.around(app.wsgi_app)  # type: ignore[method-assign, assignment]

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        REQUEST_ID.set(secrets.token_hex(8))
        CALL_ID.set(request.headers.get("X-Call-Id", "")[:LONGEST_CALL_ID] or None)
        if request.endpoint in QUIET:
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
        if response.status_code >= 400 and request.endpoint not in QUIET:  # all are counted; the gateway logs calls too
            log(request.method, path=request.path, status=response.status_code, ms=round(took * 1000, 1))
        response.headers["X-Request-Id"] = REQUEST_ID.get() or ""
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.errorhandler(Exception)
    def boundary(error: Exception) -> Response:
        response = problem(_known(error))
        if isinstance(error, HTTPException):
            response.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
        return response

    @app.get("/healthz")
    def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz")
    def readyz() -> Response:
        missing = ready()
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


def _known(error: Exception) -> Exception:
    """What Flask says of a request (no such address), as one of our errors."""
    if not isinstance(error, HTTPException):
        return error
    kind = _HTTP.get(error.code or 500, Malformed if (error.code or 500) < 500 else SabuesoError)
    return kind(error.description or "")


def problem(error: Exception) -> Response:
    """The problem document of an error (RFC 9457). An unforeseen one is logged with its traceback."""
    if not isinstance(error, SabuesoError):
        LOG.error("unforeseen %s", type(error).__name__, exc_info=error)
        error = SabuesoError("Something went wrong on our side; the function's log has more under this request_id.")
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


def _json(body: Any, status: int = 200) -> Response:
    return Response(as_text(body) + "\n", status, mimetype="application/json")


def answer(status: int = 200, **body: Any) -> Response:
    """A JSON answer with the request's id."""
    return _json({**body, "request_id": REQUEST_ID.get()}, status)


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


def read_json(raw: bytes) -> Any:
    """The JSON value of a body. Raises Malformed."""
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
