"""The log: one JSON line an event, on standard error."""

from __future__ import annotations

import json
import sys
import time
from contextvars import ContextVar
from typing import Any

# The request that is being answered here, if any: its id stands in every line.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def log(function: str, event: str, **facts: Any) -> None:
    """One JSON line on standard error; never a secret or a body."""
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "function": function, "event": event, **facts}
    request_id = REQUEST_ID.get()
    if request_id is not None:
        line["request_id"] = request_id
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()
