"""The ASGI application of every function: health and a function's quick calls are answered here, others by Flask.

A quick call is worked on in a thread, or on the event loop itself where that takes less time than the way to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import mmap
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.brief import TakesLong, briefly
from common.errors import Malformed, Unavailable
from common.http import Reply, begin_request, health, problem, readiness, too_large
from common.settings import Settings
from common.tally import Tally

if TYPE_CHECKING:
    from flask import Flask

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Threads of Flask's calls: they wait more than they work.
FLASK_THREADS = 4
# So many bodies of the largest size may be in memory at once; one that comes too slowly is given up. What is no larger
# than the server in front of us reads anyway takes no room.
BODIES, BODY_S, SMALL = 4, 30.0, 65_536
# A process whose event loop has not turned for so long answers nobody any more.
STUCK_S = 15.0


@dataclass(frozen=True)
class Job:
    """A quick call: `run` makes the reply to its body.

    On the event loop itself, where it is brief, for a body of no more than `light` bytes; -1: for none.
    `long`: it may take many times as long as others, which shall not wait for it.
    """

    endpoint: str
    run: Callable[[bytes], Reply]
    light: int = 0
    long: bool = False


Quick = Callable[[str, str, str, dict[bytes, bytes]], Job | None]


class Application:
    """`quick(method, path, query, headers)` says what is answered without Flask; `make_flask` is asked when need be."""

    def __init__(
        self,
        settings: Settings,
        make_flask: Callable[[], Flask],
        tally: Tally,
        missing: Callable[[], str | None] = lambda: None,
        quick: Quick = lambda *call: None,
        before_end: Callable[[], None] | None = None,
        processes: int = 1,
        begin: Callable[[int], None] = lambda place: None,
    ) -> None:
        """`before_end`: what is done first when the process is told to end.

        `processes`: how many shall answer. `begin(place)` is called in each once they are forked, before any answer:
        until then no thread may run.
        """
        self.settings, self.tally, self._missing, self._quick = settings, tally, missing, quick
        self.before_end, self.processes, self._begin = before_end, processes, begin
        self._flask = _Flask(make_flask)
        self._wsgi: Any = None
        # In a process of its own a thread waits for no other's share of Python's lock.
        self._threads = ThreadPoolExecutor(max(1, settings.threads // processes), "quick")
        self._long = ThreadPoolExecutor(settings.threads, "long")
        self._room = _Room(max(1, BODIES // processes) * settings.max_body)
        self._place, self._ticks = 0, memoryview(mmap.mmap(-1, 8 * processes)).cast("d")
        for place in range(processes):
            self._ticks[place] = time.monotonic()

    def begin(self, place: int = 0) -> None:
        """Told to each process, with its place among them."""
        self._place = place
        self.tally.begin(place)
        self._begin(place)

    def tick(self) -> None:
        """Told by each process again and again."""
        self._ticks[self._place] = time.monotonic()

    def _health(self) -> Reply:
        """Raises Unavailable if one of several processes is stuck: whoever started them shall start them anew."""
        if self.processes > 1 and time.monotonic() - min(self._ticks) > STUCK_S:
            raise Unavailable(f"a process has done nothing for {STUCK_S:g} s")
        return health()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        job = self._job(scope)
        if job is None:
            await self._by_flask(scope, receive, send)
            return
        began, request_id = time.perf_counter(), begin_request()
        reply = await self._reply(job, scope, receive)
        if reply is None:  # who called is gone
            return
        status = await _sent(reply, request_id, send, self._long)
        self.tally.end(job.endpoint, scope["method"], scope["path"], status, time.perf_counter() - began)

    def _job(self, scope: Message) -> Job | None:
        method, path = scope["method"], scope["path"]
        if method == "GET" and path == "/healthz":
            return Job("healthz", lambda body: self._health())
        if method == "GET" and path == "/readyz":
            return Job("readyz", lambda body: readiness(self.settings, self._missing()))
        return self._quick(method, path, scope["query_string"].decode("latin1"), dict(scope["headers"]))

    async def _reply(self, job: Job, scope: Message, receive: Receive) -> Reply | None:
        async def run(body: bytes) -> Reply:
            if len(body) <= job.light:
                with contextlib.suppress(TakesLong):
                    return briefly(job.run, body)
            here, threads = contextvars.copy_context(), self._long if job.long else self._threads
            return await asyncio.get_running_loop().run_in_executor(threads, here.run, job.run, body)

        return await self._with_body(scope, receive, run)

    async def _with_body(
        self, scope: Message, receive: Receive, work: Callable[[bytes], Awaitable[Reply | None]]
    ) -> Reply | None:
        """What `work` makes of the whole body, once there is room for it; None if the caller has gone."""
        most, length = self.settings.max_body, _length(scope)
        try:
            if length is not None and length > most:
                raise too_large(self.settings)
            size = most if length is None else length
            async with self._room.taken(size) if size > SMALL else contextlib.nullcontext():
                try:
                    async with asyncio.timeout(BODY_S):
                        body = await _body(receive, most) if length != 0 else b""
                except TimeoutError:
                    raise Malformed(f"the body did not come within {BODY_S:g} s") from None
                if body is None:
                    return None
                if len(body) > most:
                    raise too_large(self.settings)
                return await work(body)
        except Exception as error:
            return problem(error)

    async def _by_flask(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._wsgi is None:
            from a2wsgi import WSGIMiddleware

            self._wsgi = WSGIMiddleware(self._flask, workers=FLASK_THREADS)

        # With the body at hand it keeps no thread for as long as a caller takes. WSGI knows none without a length.
        async def whole(body: bytes) -> None:
            length = (b"content-length", str(len(body)).encode())
            headers = [length, *(one for one in scope["headers"] if one[0] not in _LENGTHS)]
            await self._wsgi({**scope, "headers": headers}, _again(body, receive), send)

        began, request_id = time.perf_counter(), begin_request()
        refused = await self._with_body(scope, receive, whole)
        if refused is not None:
            status = await _sent(refused, request_id, send, self._long)
            self.tally.end("none", scope["method"], scope["path"], status, time.perf_counter() - began)


class _Flask:
    """The Flask app as WSGI; made at the first call, in the thread that answers it."""

    def __init__(self, make: Callable[[], Flask]) -> None:
        self._make, self._app, self._lock = make, None, threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with self._lock:
            if self._app is None:
                self._app = self._make()  # type: ignore[assignment]
        return self._app(environ, start_response)  # type: ignore[misc]


class _Room:
    """Bytes of bodies that are in memory at once; who finds no room waits, one after another."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        await self._take(size)
        try:
            yield
        finally:
            self._give(size)

    async def _take(self, size: int) -> None:
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            self._give(0 if turn.cancelled() else size)
            raise

    def _give(self, size: int) -> None:
        self._free += size
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            next_size, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= next_size
                turn.set_result(None)


def _length(scope: Message) -> int | None:
    """What the headers say of the body's length; None if it comes in chunks."""
    chunked = False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
        chunked = chunked or name == b"transfer-encoding"
    return None if chunked else 0


async def _body(receive: Receive, most: int) -> bytes | None:
    """The whole body, or a little more than `most`; None if the caller has gone."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        parts.append(part)
        if not message.get("more_body") or size > most:
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was received already, then what comes."""
    left = [body]

    async def given() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return given


async def _sent(reply: Reply, request_id: str, send: Send, threads: ThreadPoolExecutor) -> int:
    """Send it; the status. A body in parts is made in a thread, part by part."""
    headers = [(b"content-type", _CONTENT_TYPES.get(reply.mimetype, reply.mimetype).encode())]
    whole = reply.body if isinstance(reply.body, bytes) else None
    if whole is not None:
        headers.append((b"content-length", str(len(whole)).encode()))
    headers += [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    headers += [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if whole is not None:
        await send({"type": "http.response.body", "body": whole})
        return reply.status
    parts: Iterator[bytes] = iter(reply.body)  # type: ignore[arg-type]
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    while part := await loop.run_in_executor(threads, lambda: context.run(next, parts, b"")):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return reply.status


_LENGTHS = (b"content-length", b"transfer-encoding")
_CONTENT_TYPES = {"text/csv": "text/csv; charset=utf-8"}
