"""What comes in and goes out over HTTP, whoever carries it: JSON bodies, replies, problem documents."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from common.errors import Malformed, SabuesoError, TooLarge, Unavailable
from common.log import REQUEST_ID
from common.settings import Settings

LOG = logging.getLogger("sabueso")
TYPES = "urn:sabueso:problem:"
as_text = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Reply:
    """Status, content type, and the body: whole, or in parts that are made while they are sent."""

    status: int
    mimetype: str
    body: bytes | Iterator[bytes]
    headers: dict[str, str] = field(default_factory=dict)


def begin_request() -> str:
    """A new id for the request that is answered here from now on."""
    request_id = secrets.token_hex(8)
    REQUEST_ID.set(request_id)
    return request_id


def as_json(status: int = 200, **body: Any) -> Reply:
    """A JSON answer with the request's id."""
    text = as_text({**body, "request_id": REQUEST_ID.get()})
    return Reply(status, "application/json", f"{text}\n".encode())


def health() -> Reply:
    return Reply(200, "application/json", b'{"status":"ok"}\n')


def readiness(settings: Settings, missing: str | None) -> Reply:
    """`missing`: what is still to come. Raises Unavailable with it."""
    if missing is not None:
        raise Unavailable(f"not ready yet: {missing}")
    body = {"status": "ok", "deployment": settings.deployment}
    return Reply(200, "application/json", f"{as_text(body)}\n".encode())


def problem(error: Exception) -> Reply:
    """The problem document of an error (RFC 9457). What nobody foresaw is logged whole, and told as internal."""
    if not isinstance(error, SabuesoError):
        LOG.error("unforeseen %s", type(error).__name__, exc_info=error)
        told = "Something went wrong on our side; the log of this function tells more by the request_id."
        error = SabuesoError(told)
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
    return Reply(error.status, "application/problem+json", json.dumps(body).encode(), headers)


def too_large(settings: Settings) -> TooLarge:
    return TooLarge(f"The body may have {settings.max_body_mb:g} MB at most (SABUESO_MAX_BODY_MB).")


def read_json(raw: bytes) -> Any:
    """The JSON value of a body. Raises Malformed."""
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
