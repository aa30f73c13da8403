"""Admission control of one worker: a call over a limit waits for up to `queue_s`, then gets Busy.

granian gives each connection a thread, so that health checks are answered under any load. The first bytes of a body
are read before the call takes a place, so that slow senders block nobody. A call is not refused at once: clients that
ask again without a pause would take most of the CPU for refusals.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from typing import Any

from werkzeug.wsgi import ClosingIterator

from common.errors import Busy, Malformed, TooLarge
from common.settings import Settings

# Connections of a worker; further ones wait in the kernel.
CONNECTIONS = 256
# Calls that wait for a place; further ones are refused at once, so that some connections are always free.
WAITING = 192
# Seconds that a body may take to arrive.
BODY_S = 10.0
# Bytes of a body that are read before the call takes a place.
UNCOUNTED_BYTES = 65_536
# Bytes of a body that need no memory from the shared budget: most pictures are smaller. The budget is one body of the
# largest size.
UNBUDGETED_BYTES = 1_000_000
CHUNK = 65_536
CALL, READING = "sabueso.call", "sabueso.reading"
Environ = dict[str, Any]  # of WSGI
Wsgi = Callable[[Environ, Any], Iterable[bytes]]


class Admission:
    """The limits of one worker; `settings.calls` is that of concurrent calls.

    A call keeps its place and its memory until its answer is sent.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._places, self._waiting = threading.BoundedSemaphore(settings.calls), threading.BoundedSemaphore(WAITING)
        self._free_memory, self._memory = settings.max_body, threading.Condition()
        self._readers = ThreadPoolExecutor(CONNECTIONS, "body")

    def wrap(self, app: Wsgi) -> Wsgi:
        """WSGI middleware that releases a call's place and memory once its response is sent."""

        def limited(environ: Environ, start_response: Any) -> Iterable[bytes]:
            call, lengths = ExitStack(), list[str]()
            environ[CALL] = call

            def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
                lengths[:] = [name for name, _ in headers if name == "Content-Length"]
                return start_response(status, headers, *error)

            with call:
                answer = app(environ, start)
                if not lengths:  # a streamed answer
                    return ClosingIterator(answer, call.pop_all().close)
                with closing(answer):  # type: ignore[type-var]
                    text = b"".join(answer)
            reading = environ.get(READING)
            return [text] if reading is None or reading.done() else _sent_before_body_ends(reading, text)

        return limited

    def take_place(self, environ: Environ) -> None:
        """Take a place for the call. Raises Busy if none becomes free in time, or too many calls wait."""
        if not self._waiting.acquire(blocking=False):
            raise Busy("too many calls wait for this worker")
        try:
            if not self._places.acquire(timeout=self.settings.queue_s):
                raise Busy("this worker is at its limit of concurrent calls")
        finally:
            self._waiting.release()
        environ[CALL].callback(self._places.release)

    def read_body(self, environ: Environ) -> io.BytesIO:
        """The whole body. The call takes a place once the first bytes have arrived.

        Raises Busy, TooLarge, and Malformed if the body is cut short or arrives too slowly.
        """
        length, limit = environ.get("CONTENT_LENGTH"), self.settings.max_body
        wanted = int(length) if length else limit + 1
        if length and wanted > limit:
            raise self._too_large()
        body, until = io.BytesIO(), time.monotonic() + BODY_S
        self._read(environ, body, min(UNCOUNTED_BYTES, wanted), until)
        may_wait_until = time.monotonic() + self.settings.queue_s
        self.take_place(environ)
        if body.tell() == UNCOUNTED_BYTES:
            self._read(environ, body, min(UNBUDGETED_BYTES, wanted), until)
        if body.tell() == UNBUDGETED_BYTES < wanted:
            self._take_memory(environ[CALL], min(wanted, limit), may_wait_until)
            self._read(environ, body, wanted, until)
        if body.tell() > limit:
            raise self._too_large()
        if length and body.tell() < wanted:
            raise Malformed(f"the body ended after {body.tell()} of {wanted} bytes")
        body.seek(0)
        return body

    def _read(self, environ: Environ, body: io.BytesIO, size: int, until: float) -> None:
        """Run `_fill` in another thread and stop waiting when the time is over: a read has no time limit."""
        environ[READING] = self._readers.submit(_fill, body, environ["wsgi.input"], size, until)
        try:
            environ[READING].result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            body.close()  # releases the memory now; the read itself may take longer
            raise _too_slow() from None

    def _take_memory(self, call: ExitStack, size: int, until: float) -> None:
        with self._memory:
            wait_s = max(0.0, until - time.monotonic())
            if not self._memory.wait_for(lambda: self._free_memory >= size, wait_s):
                raise Busy("this worker is at its limit of large bodies")
            self._free_memory -= size
        call.callback(self._give_memory_back, size)

    def _give_memory_back(self, size: int) -> None:
        with self._memory:
            self._free_memory += size
            self._memory.notify_all()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body may have at most {self.settings.max_body_mb:g} MB (SABUESO_MAX_BODY_MB).")


def _fill(body: io.BytesIO, stream: Any, size: int, until: float) -> None:
    """Read until the body has that size, or ends. Raises Malformed once the time is over."""
    while body.tell() < size and (chunk := stream.read(min(CHUNK, size - body.tell()))):
        body.write(chunk)
        if time.monotonic() > until:
            raise _too_slow()


def _too_slow() -> Malformed:
    return Malformed(f"the body did not arrive within {BODY_S:g} s")


def _sent_before_body_ends(reading: Future[None], text: bytes) -> Iterator[bytes]:
    """An answer to a body that is still arriving.

    The server drops the body when the answer ends, and would block every Python thread until the read returns.
    """
    yield text
    wait([reading])
