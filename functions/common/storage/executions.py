"""Executions: one record per run of fetch-batch or train, updated while it runs, never changed after its end.

Moves of the alias `champion` are recorded beside them.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Self, TypeVar

from common.documents import Document
from common.errors import Conflict, StoreUnavailable
from common.json_types import Json
from common.storage import keys
from common.storage.object_store import ObjectStore
from common.timestamps import timestamp


class StoredRecord(Document):
    """Fields of every record. `state`: running, finished, failed, interrupted, cancelled or out-of-memory.

    `function` holds the kind of the record; its id and key begin with it too.
    """

    KIND: ClassVar[str]

    id: str
    function: str
    state: str = "running"
    started: str
    ended: str | None = None

    @classmethod
    def new(cls, **facts: Json) -> Self:
        """A record that begins now, with an id of its own."""
        begun = {"id": new_id(cls.KIND), "function": cls.KIND, "started": timestamp()}
        return cls.model_validate({**begun, **facts})


class ExecutionRecord(StoredRecord):
    """A run of a function."""

    @property
    def is_running(self) -> bool:
        return self.state == "running"


R = TypeVar("R", bound=StoredRecord)


def new_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(6)}"


@dataclass
class Execution(Generic[R]):
    """A stored record, to be updated by the one process that runs the execution."""

    store: ObjectStore
    key: str
    record: R
    etag: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unconfirmed: list[bytes] = field(default_factory=list)

    def update(self, **changes: Json) -> None:
        """Write the changes. Raises Conflict if another process ended this record, StoreUnavailable.

        Raises TypeError for a field that the record does not have: a document would ignore it.
        """
        if unknown := changes.keys() - type(self.record).model_fields.keys():
            raise TypeError(f"{type(self.record).__name__} has no {', '.join(sorted(unknown))}")
        with self._lock:
            self.record = self.record.model_validate({**dict(self.record), **changes})
            body = self.record.encode()
            try:
                self.etag = self._put(body)
            except StoreUnavailable:
                self._unconfirmed.append(body)
                raise
            self._unconfirmed.clear()

    def _put(self, body: bytes) -> str:
        try:
            return self.store.put(self.key, body, if_match=self.etag)
        except Conflict:
            # A write whose answer was lost may have succeeded: then what is stored is ours.
            stored = self.store.get(self.key) if self._unconfirmed else None
            if stored is None or stored.body not in self._unconfirmed:
                raise
            return self.store.put(self.key, body, if_match=stored.etag)

    def end(self, state: str, **changes: Json) -> None:
        self.update(state=state, ended=timestamp(), **changes)


def begin(store: ObjectStore, pipeline: str, record: R) -> Execution[R]:
    """Store a new record."""
    key = keys.execution(pipeline, record.started, record.id)
    return Execution(store, key, record, store.put(key, record.encode(), if_absent=True))


def write_once(store: ObjectStore, pipeline: str, record: StoredRecord) -> None:
    """Store a record that is complete from the start. Calling it again after a lost answer does no harm."""
    with contextlib.suppress(Conflict):
        store.put(keys.execution(pipeline, record.started, record.id), record.encode(), if_absent=True)


def load(store: ObjectStore, key: str, kind: type[R]) -> Execution[R]:
    """The execution stored at a key. Raises FileNotFoundError if there is none."""
    stored = store.get(key)
    if stored is None:
        raise FileNotFoundError(key)
    return Execution(store, key, kind.decode(stored.body, key), stored.etag)


def history(store: ObjectStore, pipeline: str, kind: type[R], limit: int = 20) -> list[Execution[R]]:
    """The newest executions of a kind, newest first."""
    root = keys.executions(pipeline)
    listed = [key for key in store.list(root) if f"-{kind.KIND}-" in key.removeprefix(root)]
    stored = ((key, store.get(key)) for key in reversed(listed[-limit:]))
    return [Execution(store, key, kind.decode(one.body, key), one.etag) for key, one in stored if one is not None]


def newest(store: ObjectStore, pipeline: str, kind: type[R]) -> Execution[R] | None:
    return next(iter(history(store, pipeline, kind, limit=1)), None)
