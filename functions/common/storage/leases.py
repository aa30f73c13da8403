"""A lease: the right to work on a pipeline.

It expires by the store's clock, and is released by a conditional PUT, never by DELETE.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from types import TracebackType

from common.documents import Document
from common.errors import AlreadyRunning, Conflict, StoreUnavailable, TooSoon
from common.storage.object_store import ObjectStore


class LeaseHeld(AlreadyRunning):
    """Another holder has the lease."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} is running")
        self.holder = holder


class LeaseDocument(Document):
    """The stored form of a lease. `seconds`: time from the last write to expiry."""

    holder: str
    nonce: str
    seconds: float
    renewals: int = 0
    released: bool = False


@dataclass(frozen=True)
class _Stored:
    """The document with its ETag and its age."""

    document: LeaseDocument
    etag: str
    age_s: float

    @property
    def is_free(self) -> bool:
        return self.document.released or self.age_s > self.document.seconds

    def is_held_by(self, nonce: str) -> bool:
        """Whether that holder wrote it last, even if it has expired since."""
        return self.document.nonce == nonce and not self.document.released


def _read(store: ObjectStore, key: str) -> _Stored | None:
    stored = store.get(key)
    return None if stored is None else _Stored(LeaseDocument.decode(stored.body, key), stored.etag, stored.age_s)


@dataclass
class Lease:
    """A held lease. As a context manager it is renewed in the background and released at the end."""

    store: ObjectStore
    key: str
    holder: str
    nonce: str
    seconds: float
    etag: str
    renewals: int = 0
    lost: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def renew(self) -> bool:
        """Extend the lease; False, and `lost`, if another holder took it. While the store is down it stays ours."""
        try:
            return self.confirm()
        except StoreUnavailable:
            return not self.lost

    def confirm(self) -> bool:
        """Like `renew`, for a step that must be sure. Raises StoreUnavailable."""
        with self._lock:  # the background thread may renew at the same moment
            self.renewals += 1
            try:
                self._write()
            except Conflict:
                self.lost = True
            return not self.lost

    def release(self) -> None:
        """Give the lease back; does nothing if it was lost."""
        self.stop_renewing()
        with self._lock:
            try:
                self._write(released=True)
            except (Conflict, StoreUnavailable):
                self.lost = True

    def release_for_dead_holder(self) -> None:
        """Release a lease that another process held under this nonce and renewed, so that its ETag changed."""
        stored = _read(self.store, self.key)
        if stored is not None and stored.is_held_by(self.nonce):
            self.etag = stored.etag
            self.release()

    def _write(self, released: bool = False) -> None:
        """Replace what this holder wrote last. Raises Conflict if another holder wrote since, StoreUnavailable."""
        body = self._document(released).encode()
        try:
            self.etag = self.store.put(self.key, body, if_match=self.etag)
        except Conflict:
            # An earlier write may have succeeded although its answer was lost.
            stored = _read(self.store, self.key)
            if stored is None or not stored.is_held_by(self.nonce):
                raise
            self.etag = self.store.put(self.key, body, if_match=stored.etag)

    def _document(self, released: bool = False) -> LeaseDocument:
        return LeaseDocument(
            holder=self.holder, nonce=self.nonce, seconds=self.seconds, renewals=self.renewals, released=released
        )

    def start_renewing(self) -> Lease:
        def loop() -> None:
            while not self._stop.wait(self.seconds / 4) and self.renew():
                pass

        self._thread = threading.Thread(target=loop, name=f"lease {self.key}", daemon=True)
        self._thread.start()
        return self

    def stop_renewing(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Lease:
        return self.start_renewing()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder_nonce(store: ObjectStore, key: str) -> str | None:
    """The nonce of the holder, or None if the lease is free."""
    stored = _read(store, key)
    return None if stored is None or stored.is_free else stored.document.nonce


def acquire(store: ObjectStore, key: str, holder: str, seconds: float, min_interval_s: float = 0) -> Lease:
    """Take the lease.

    Raises LeaseHeld if it is held, AlreadyRunning if another call takes it at the same moment, and TooSoon if it was
    released less than `min_interval_s` ago.
    """
    stored = _read(store, key)
    if stored is not None and stored.document.released and stored.age_s < min_interval_s:
        raise TooSoon(stored.age_s, min_interval_s)
    if stored is not None and not stored.is_free:
        raise LeaseHeld(stored.document.holder)
    lease = Lease(store, key, holder, secrets.token_hex(8), seconds, etag="")
    body = lease._document().encode()
    try:
        if stored is None:
            lease.etag = store.put(key, body, if_absent=True)
        else:
            lease.etag = store.put(key, body, if_match=stored.etag)
    except Conflict:
        raise AlreadyRunning("another call took the lease first") from None
    return lease


def take_over(store: ObjectStore, key: str, nonce: str, seconds: float) -> Lease:
    """Continue with a lease that the parent process acquired. Raises AlreadyRunning if it is no longer held."""
    stored = _read(store, key)
    if stored is None or stored.is_free or not stored.is_held_by(nonce):
        raise AlreadyRunning("the lease was lost before the job began")
    document = stored.document
    return Lease(store, key, document.holder, nonce, seconds, stored.etag, renewals=document.renewals)
