"""Limits of a worker's load. A call beyond them gets Busy, at once or after a short wait.

granian gives each connection a thread, so that health is answered under any load. The first bytes of a body are read
before its call counts, so that slow senders keep nobody from an answer.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from werkzeug.wsgi import ClosingIterator

from common.errors import Busy, Malformed, TooLarge
from common.settings import Settings

# A worker's connections; further ones wait.
CONNECTIONS = 256
# Seconds that a body may take.
BODY_S = 10.0
# Of a body: what is read before its call counts; what is read before it needs room, and so usual pictures never do; at
# a time. There is room for one body of the largest size, or more that are smaller.
FIRST, SMALL, PART = 65_536, 1_000_000, 65_536
# Calls with rows that compute at once (pictures do so one by one, by a lock, which costs less to wait for: each more at
# once would need an interpreter as large as the network); answers that are streamed at once: a slow reader holds one
# for as long as it reads.
SLOTS, STREAMS = 2, 4
CALL, READING = "sabueso.call", "sabueso.reading"
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Any], Iterable[bytes]]


class Admission:
    """The limits of one worker. A call keeps its place, room and stream until its answer is sent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._places = threading.BoundedSemaphore(settings.calls)
        self._slots: dict[str, Any] = {"tabular": threading.BoundedSemaphore(SLOTS), "image": threading.Lock()}
        self._streams = threading.BoundedSemaphore(STREAMS)
        self._room, self._given = settings.max_body, threading.Condition()
        self._readers = ThreadPoolExecutor(CONNECTIONS, "body")

    def around(self, app: Wsgi) -> Wsgi:
        """The WSGI application whose calls may be admitted."""

        def admitting(environ: Environ, start_response: Any) -> Iterable[bytes]:
            call, whole = ExitStack(), list[str]()
            environ[CALL] = call

            def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
                whole[:] = [name for name, _ in headers if name == "Content-Length"]
                return start_response(status, headers, *error)

            with call:
                answer = app(environ, start)
                if not whole:  # it is made while it is sent
                    return ClosingIterator(answer, call.pop_all().close)
                with closing(answer):  # type: ignore[type-var]
                    text = b"".join(answer)
            reading = environ.get(READING)
            return [text] if reading is None or reading.done() else _after(reading, text)

        return admitting

    def take_place(self, environ: Environ) -> None:
        """The right to be answered at all. Raises Busy."""
        if not self._places.acquire(blocking=False):
            raise Busy("as many calls as this worker takes are being answered")
        environ[CALL].callback(self._places.release)

    def read_body(self, environ: Environ) -> io.BytesIO:
        """The call's body, whole; from then on the call counts. Raises Busy, TooLarge, and Malformed if the body is cut
        short or comes too slowly.
        """
        length, most = environ.get("CONTENT_LENGTH"), self.settings.max_body
        wanted = int(length) if length else most + 1
        if length and wanted > most:
            raise self._too_large()
        body, until = io.BytesIO(), time.monotonic() + BODY_S
        self._read(environ, body, min(FIRST, wanted), until)
        self.take_place(environ)
        if body.tell() == FIRST:
            self._read(environ, body, min(SMALL, wanted), until)
        if body.tell() == SMALL < wanted:
            self._take_room(environ[CALL], min(wanted, most))
            self._read(environ, body, wanted, until)
        if body.tell() > most:
            raise self._too_large()
        if length and body.tell() < wanted:
            raise Malformed(f"the body ended after {body.tell()} of {wanted} bytes")
        body.seek(0)
        return body

    @contextmanager
    def slot(self, kind: str) -> Iterator[None]:
        """The right to compute for a pipeline of that kind. Raises Busy if none comes free in time."""
        slots = self._slots[kind]
        if not slots.acquire(timeout=self.settings.queue_s):
            raise Busy(f"no other call ended within {self.settings.queue_s:g} s")
        try:
            yield
        finally:
            slots.release()

    def begin_stream(self, environ: Environ) -> None:
        """The right to an answer that is made while it is sent. Raises Busy if none comes free in time."""
        if not self._streams.acquire(timeout=self.settings.queue_s):
            raise Busy("as many long answers as this worker sends are still being read")
        environ[CALL].callback(self._streams.release)

    def _read(self, environ: Environ, body: io.BytesIO, size: int, until: float) -> None:
        """`_fill` in another thread, so that it can be given up: a read has no time limit."""
        environ[READING] = self._readers.submit(_fill, body, environ["wsgi.input"], size, until)
        try:
            environ[READING].result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            body.close()  # it is refused: what came of it would stay in memory until the read ends
            raise _too_slow() from None

    def _take_room(self, call: ExitStack, size: int) -> None:
        with self._given:
            if not self._given.wait_for(lambda: self._room >= size, self.settings.queue_s):
                raise Busy("as many large bodies as this worker keeps are being answered")
            self._room -= size
        call.callback(self._give_room, size)

    def _give_room(self, size: int) -> None:
        with self._given:
            self._room += size
            self._given.notify_all()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body may have {self.settings.max_body_mb:g} MB at most (SABUESO_MAX_BODY_MB).")


def _fill(body: io.BytesIO, given: Any, size: int, until: float) -> None:
    """Read until the body has that size, or ends. Raises Malformed once the time is over."""
    while body.tell() < size and (part := given.read(min(PART, size - body.tell()))):
        body.write(part)
        if time.monotonic() > until:
            raise _too_slow()


def _too_slow() -> Malformed:
    return Malformed(f"the body did not come within {BODY_S:g} s")


def _after(reading: Future[None], text: bytes) -> Iterator[bytes]:
    """An answer that is sent before a slow body has ended.

    The server takes the body away when the answer is over, and would keep every thread of Python waiting for the read.
    """
    yield text
    wait([reading])
