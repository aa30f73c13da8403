"""The log of every process: a JSON line an event on standard error, through Python's `logging`."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import time
from contextvars import ContextVar
from typing import Any

# The request that is being answered here, if any, and the id that OpenFaaS's gateway gave the call.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
CALL_ID: ContextVar[str | None] = ContextVar("call_id", default=None)
IDS = {"request_id": REQUEST_ID, "call_id": CALL_ID}
LOG = logging.getLogger("sabueso")


class JsonLines(logging.Formatter):
    """A record as one line: time, level, function, event, the request's ids, the event's facts, and an error whole."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self.function = function

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
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
        return json.dumps(line, default=str)


def log_settings(function: str) -> dict[str, Any]:
    """What `logging.config.dictConfig` takes: ours from INFO on, libraries' from WARNING on."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines, "function": function}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {LOG.name: {"level": "INFO"}},
    }


def set_up_log(function: str) -> None:
    """To be called once in every process, before anything is logged. A child's lines have the ids of its parent."""
    logging.config.dictConfig(log_settings(function))
    for name, variable in IDS.items():
        variable.set(os.environ.get(name.upper()))


def current_ids() -> dict[str, str]:
    """The ids of the request that is being answered here, as far as there are any."""
    return {name: value for name, variable in IDS.items() if (value := variable.get()) is not None}


def child_environment() -> dict[str, str]:
    """What a child process needs in its environment for its log lines to have the same ids."""
    return {name.upper(): value for name, value in current_ids().items()}


def log(event: str, level: int = logging.INFO, **facts: Any) -> None:
    """One line; never a secret or a body."""
    LOG.log(level, event, extra={"facts": facts})
