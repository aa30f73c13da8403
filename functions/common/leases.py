"""A lease: who may work on a pipeline now. Expiry by the store's clock; released by a conditional PUT, never DELETE."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass, field
from types import TracebackType

from common.errors import AlreadyRunning, Conflict, StoreUnavailable, TooSoon
from common.objects import Object, Objects


@dataclass
class Lease:
    """A held lease. As a context manager it is renewed in the background and released at the end."""

    objects: Objects
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
        """Write it again; False, and `lost`, if another holds it now. A store that is away may take the next one."""
        try:
            return self.confirm()
        except StoreUnavailable:
            return not self.lost

    def confirm(self) -> bool:
        """As `renew`, for a step that must be sure. Raises StoreUnavailable."""
        # The thread in the background may renew at the same moment.
        with self._lock:
            self.renewals += 1
            try:
                self._write()
            except Conflict:
                self.lost = True
            return not self.lost

    def release(self) -> None:
        """Give it back; if it was lost there is nothing to give."""
        self.stop_renewing()
        with self._lock:
            try:
                self._write(released=True)
            except (Conflict, StoreUnavailable):
                self.lost = True

    def _write(self, released: bool = False) -> None:
        """Write it over what this holder wrote last. Raises Conflict if another holds it, StoreUnavailable."""
        try:
            self.etag = self.objects.put(self.key, _body(self, released), if_match=self.etag)
        except Conflict:
            # An earlier write of ours may have got through although its answer was lost: the nonce tells.
            found = self.objects.get(self.key)
            if found is None or not _is_ours(found, self.nonce):
                raise
            self.etag = self.objects.put(self.key, _body(self, released), if_match=found.etag)

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


def _body(lease: Lease, released: bool = False) -> bytes:
    return json.dumps(
        {
            "holder": lease.holder,
            "nonce": lease.nonce,
            "seconds": lease.seconds,
            "renewals": lease.renewals,
            "released": released,
        }
    ).encode()


def _is_ours(found: Object, nonce: str) -> bool:
    body = json.loads(found.body)
    return body["nonce"] == nonce and not body["released"]


def is_free(found: Object | None) -> bool:
    """True if nobody holds it: never taken, released, or expired."""
    if found is None:
        return True
    body = json.loads(found.body)
    return bool(body["released"]) or found.age_s > body["seconds"]


def held_by(objects: Objects, key: str) -> str | None:
    """The holder's nonce, or None if the lease is free."""
    found = objects.get(key)
    return None if found is None or is_free(found) else str(json.loads(found.body)["nonce"])


def acquire(objects: Objects, key: str, holder: str, seconds: float, rest_s: float = 0) -> Lease:
    """Take the lease. Raises AlreadyRunning, naming the holder, if it is held, and TooSoon if its last holder

    gave it back less than `rest_s` ago.
    """
    found = objects.get(key)
    if found is not None and json.loads(found.body)["released"] and found.age_s < rest_s:
        raise TooSoon(found.age_s, rest_s)
    lease = Lease(objects, key, holder, secrets.token_hex(8), seconds, etag="")
    if found is not None and not is_free(found):
        raise AlreadyRunning(f"{json.loads(found.body)['holder']} is running")
    try:
        if found is None:
            lease.etag = objects.put(key, _body(lease), if_absent=True)
        else:
            lease.etag = objects.put(key, _body(lease), if_match=found.etag)
    except Conflict:
        raise AlreadyRunning("another call was first") from None
    return lease


def take_over(objects: Objects, key: str, nonce: str, seconds: float) -> Lease:
    """Go on with a lease that the parent process took. Raises AlreadyRunning if it is no longer held."""
    found = objects.get(key)
    if found is None or is_free(found) or json.loads(found.body)["nonce"] != nonce:
        raise AlreadyRunning("the lease was lost before the job began")
    body = json.loads(found.body)
    return Lease(objects, key, body["holder"], nonce, seconds, found.etag, renewals=body["renewals"])
