"""The log of every process: one JSON line per event on standard error, through Python's `logging`."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import time
from collections.abc import Mapping
from contextvars import ContextVar

from common.json_types import Json
from common.redaction import redact

# The id of the request in this context, and the id that OpenFaaS's gateway gave the call.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
CALL_ID: ContextVar[str | None] = ContextVar("call_id", default=None)
IDS = {"request_id": REQUEST_ID, "call_id": CALL_ID}
LOG = logging.getLogger("sabueso")


class JsonLines(logging.Formatter):
    """A record as one line: time, level, function, event, request ids, facts, and the traceback of an error.

    No text in it holds the credentials or the query of a URL; messages of libraries and tracebacks do.
    """

    def __init__(self, function: str) -> None:
        super().__init__()
        self.function = function

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "function": self.function,
            "event": record.getMessage(),
        }
        line |= current_ids()
        line |= getattr(record, "facts", {})
        if record.name != LOG.name:
            line["logger"] = record.name
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(_redacted(line))


def _redacted(value: object) -> object:
    """As JSON; what JSON can't hold becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(one) for one in value]
    return redact(str(value))


def log_settings(function: str) -> dict[str, Json]:
    """For `logging.config.dictConfig`: our events from INFO on, those of libraries from WARNING on."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "common.logging.JsonLines", "function": function}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {LOG.name: {"level": "INFO"}},
    }


def set_up_log(function: str) -> None:
    """Call once in every process, before anything is logged. A child's lines carry the ids of its parent."""
    logging.config.dictConfig(dict(log_settings(function)))
    for name, variable in IDS.items():
        variable.set(os.environ.get(name.upper()))


def current_ids() -> dict[str, str]:
    """The request ids that are set in this context."""
    return {name: value for name, variable in IDS.items() if (value := variable.get()) is not None}


def child_environment() -> dict[str, str]:
    """The variables with which a child process logs the same ids."""
    return {name.upper(): value for name, value in current_ids().items()}


def log(event: str, level: int = logging.INFO, **facts: Json) -> None:
    """One line. Never log a secret or a body."""
    LOG.log(level, event, extra={"facts": facts})
