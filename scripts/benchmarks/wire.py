"""HTTP/1.1 as a load generator needs it: a request's bytes are made once, an answer ends where its headers say."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

PIECE = 1 << 16
MOST_HEADERS = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r]*close", re.IGNORECASE)
_KEEP = re.compile(rb"\r\nconnection:[^\r]*keep-alive", re.IGNORECASE)


class Disconnected(ConnectionError):
    """The connection ended before a whole answer."""


class NotHttp(ConnectionError):
    """What came is no HTTP/1 answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `keeps`: the connection takes another request."""

    status: int
    body: bytes
    keeps: bool


class Wire:
    """One client's connection: opened when needed, kept as long as the server keeps it."""

    def __init__(self, url: str, timeout_s: float, verify: bool = True) -> None:
        parts = urlsplit(url)
        self._host, self._tls = parts.hostname or "", None
        self._port, self._timeout_s = parts.port or (443 if parts.scheme == "https" else 80), timeout_s
        if parts.scheme == "https":
            self._tls = ssl.create_default_context() if verify else ssl._create_unverified_context()  # noqa: S323
        self._socket: socket.socket | None = None

    def call(self, request: bytes) -> Answer:
        """Raises OSError (Disconnected, NotHttp, TimeoutError among them); the next call opens a new connection."""
        connection = self._socket or self._opened()
        try:
            connection.sendall(request)
            answer = read_answer(connection.recv)
        except OSError:
            self.close()
            raise
        if not answer.keeps:
            self.close()
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _opened(self) -> socket.socket:
        opened = socket.create_connection((self._host, self._port), self._timeout_s)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._tls.wrap_socket(opened, server_hostname=self._host) if self._tls else opened
        except OSError:
            opened.close()
            raise
        return self._socket


def request_bytes(url: str, path: str, body: bytes, content_type: str, accept: str = "*/*") -> bytes:
    """A POST, as it goes over the connection."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        f"Accept: {accept}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_answer(receive: Callable[[int], bytes]) -> Answer:
    """The answer to one request, from a connection on which nothing else comes. Raises Disconnected, NotHttp."""
    data = receive(PIECE)
    while True:
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > MOST_HEADERS:
                raise NotHttp("its headers don't end")
            data += _more(receive)
        head, data = data[: end + 2], data[end + 4 :]
        if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
            raise NotHttp(f"it begins with {head[:20]!r}")
        status = int(head[9:12])
        if status >= 200:
            break
    keeps = not _CLOSE.search(head) and (head[7:8] != b"0" or _KEEP.search(head) is not None)
    if status in (204, 304):
        return Answer(status, b"", keeps)
    if _CHUNKED.search(head):
        return Answer(status, _chunks(data, receive), keeps)
    length = _LENGTH.search(head)
    if length is None:  # it ends where the connection does
        parts = [data]
        while part := receive(PIECE):
            parts.append(part)
        return Answer(status, b"".join(parts), False)
    wanted = int(length[1])
    if len(data) < wanted:
        whole = bytearray(data)
        while len(whole) < wanted:
            whole += _more(receive)
        data = bytes(whole)
    if len(data) > wanted:
        raise NotHttp("more came than its Content-Length says")
    return Answer(status, data, keeps)


def _more(receive: Callable[[int], bytes]) -> bytes:
    part = receive(PIECE)
    if not part:
        raise Disconnected("it ended before the answer did")
    return part


def _chunks(data: bytes, receive: Callable[[int], bytes]) -> bytes:
    """The parts of a chunked body, joined; what it says of them and after them is passed over."""
    rest, body = bytearray(data), bytearray()
    while True:
        while (end := rest.find(b"\r\n")) < 0:
            rest += _more(receive)
        try:
            size = int(bytes(rest[:end]).partition(b";")[0], 16)
        except ValueError:
            raise NotHttp(f"a chunk that begins with {bytes(rest[:20])!r}") from None
        del rest[: end + 2]
        if size == 0:
            break
        while len(rest) < size + 2:
            rest += _more(receive)
        body += rest[:size]
        del rest[: size + 2]
    while (end := rest.find(b"\r\n")) != 0:  # lines after the last chunk, until an empty one
        if end < 0:
            rest += _more(receive)
        else:
            del rest[: end + 2]
    return bytes(body)
