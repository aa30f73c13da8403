"""Executions: one record per run of fetch-batch or train, updated while it runs, never rewritten once ended."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from common.errors import Conflict, StoreUnavailable
from common.objects import Objects


def timestamp() -> str:
    """Now, UTC, to the millisecond: 2026-01-31T12:00:00.000Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(6)}"


@dataclass
class Execution:
    """A running execution's record; `body` is what GET shows of it."""

    objects: Objects
    key: str
    body: dict[str, Any]
    etag: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _doubtful: list[bytes] = field(default_factory=list)

    def update(self, **changes: Any) -> None:
        """Write the changes. Raises Conflict if another ended this record, StoreUnavailable."""
        with self._lock:
            self.body = {**self.body, **changes}
            body = json.dumps(self.body).encode()
            try:
                self.etag = self._put(body)
            except StoreUnavailable:
                self._doubtful.append(body)
                raise
            self._doubtful.clear()

    def _put(self, body: bytes) -> str:
        try:
            return self.objects.put(self.key, body, if_match=self.etag)
        except Conflict:
            # A write whose answer was lost may have got through: then what stands there is ours.
            found = self.objects.get(self.key) if self._doubtful else None
            if found is None or found.body not in self._doubtful:
                raise
            return self.objects.put(self.key, body, if_match=found.etag)

    def end(self, state: str, **changes: Any) -> None:
        self.update(state=state, ended=timestamp(), **changes)


def begin(objects: Objects, pipeline: str, function: str, body: dict[str, Any]) -> Execution:
    """A new record in state `running`, named by time and id so that keys sort by age."""
    key, whole = _named(pipeline, function, body)
    return Execution(objects, key, whole, objects.put(key, json.dumps(whole).encode(), if_absent=True))


def note(pipeline: str, function: str, body: dict[str, Any]) -> Callable[[Objects], None]:
    """The record of something that is over at once; what is returned writes it, once however often it is called."""
    key, whole = _named(pipeline, function, body)
    whole = {**whole, "state": "finished", "ended": whole["started"]}

    def write(objects: Objects) -> None:
        with contextlib.suppress(Conflict):  # an earlier call wrote it, and lost the answer
            objects.put(key, json.dumps(whole).encode(), if_absent=True)

    return write


def _named(pipeline: str, function: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    started, identity = timestamp(), make_id(function)
    whole = {"id": identity, "function": function, "state": "running", "started": started, "ended": None, **body}
    return f"jobs/{pipeline}/runs/{started.replace(':', '')}-{identity}.json", whole


def resume(objects: Objects, key: str) -> Execution:
    """The record at key, to go on writing it."""
    found = objects.get(key)
    if found is None:
        raise FileNotFoundError(key)
    return Execution(objects, key, json.loads(found.body), found.etag)


def history(objects: Objects, pipeline: str, function: str, most: int = 20) -> list[Execution]:
    """The newest records of a function, newest first."""
    root = f"jobs/{pipeline}/runs/"
    keys = [key for key in objects.list(root) if f"-{function}-" in key.removeprefix(root)]
    found = ((key, objects.get(key)) for key in reversed(keys[-most:]))
    return [Execution(objects, key, json.loads(one.body), one.etag) for key, one in found if one is not None]


def has_ended(records: list[Execution]) -> bool:
    """True if the newest has said how it ended: whoever held its lease gives that back in a moment."""
    return bool(records) and records[0].body["state"] != "running"
