"""Clients that call without a pause, each over its own connection; every answer is counted.

wrk counts no answers by status, and forgets the calls that are unanswered at its end.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# Seconds between two attempts to connect.
RECONNECT_S = 0.1


@dataclass
class Answers:
    """What some clients were answered. `failed`: connections that broke; `unanswered`: calls without an answer."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    no_retry_after: int = 0
    failed: int = 0
    unanswered: int = 0
    longest_s: float = 0.0
    longest_refused_s: float = 0.0

    @property
    def admitted_per_s(self) -> float:
        return self.statuses[200] / self.seconds

    def add(self, status: int, headers: dict[str, str], took: float) -> None:
        self.statuses[status] += 1
        self.longest_s = max(self.longest_s, took)
        if status == 503:
            self.longest_refused_s = max(self.longest_refused_s, took)
            self.no_retry_after += not headers.get("retry-after", "").isdigit()


def call(url: str, body: bytes, content_type: str, clients: int, seconds: float, last_s: float) -> Answers:
    """POST the body from all clients for that time, then wait up to `last_s` for the last answers."""
    return asyncio.run(_call(url, body, content_type, clients, seconds, last_s))


async def _call(url: str, body: bytes, content_type: str, clients: int, seconds: float, last_s: float) -> Answers:
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {content_type}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    answers, began = Answers(), time.monotonic()
    until = began + seconds
    tasks = [asyncio.create_task(_client(url, request, until, answers)) for _ in range(clients)]
    done, waiting = await asyncio.wait(tasks, timeout=seconds + last_s)
    for task in done:
        task.result()  # raises what the task raised
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    answers.unanswered = len(waiting)
    answers.seconds = min(time.monotonic() - began, seconds)
    if waiting:
        answers.longest_s = max(answers.longest_s, last_s)
    return answers


async def _client(url: str, request: bytes, until: float, answers: Answers) -> None:
    while time.monotonic() < until:
        try:
            reader, writer = await _connect(url)
            with closing(writer):
                while (began := time.monotonic()) < until:
                    writer.write(request)
                    status, headers = await _read_answer(reader)
                    answers.add(status, headers, time.monotonic() - began)
                    if headers.get("connection", "").lower() == "close":
                        break
        except (OSError, EOFError):
            answers.failed += 1
            await asyncio.sleep(RECONNECT_S)


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Certificates are not verified, as in wrk."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        return await asyncio.open_connection(parts.hostname, parts.port or 80)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=context)


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers, in lower case, of an answer whose body is dropped. Raises OSError or EOFError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
    status, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
    else:  # chunked
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    return int(status.split()[1]), headers
