"""A TCP relay in front of a server that can break one answer, as networks do."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

BLOCK = 65_536
CONTINUE = b"HTTP/1.1 100"  # an interim answer


@dataclass
class Fault:
    """What happens to the answer of a request: after `keep` bytes the connection is cut, or stays silent."""

    request: re.Pattern[bytes]  # how the request begins
    keep: int
    silent: bool
    before: Callable[[], Any]  # called before the server gets the request
    passed: int = 0


class Connection(socketserver.BaseRequestHandler):
    """One client's connection, and ours to the server."""

    server: Relay

    def handle(self) -> None:
        self.fault: Fault | None = None
        with socket.create_connection(self.server.target) as target:
            answers = threading.Thread(target=self._answers, args=(target,), daemon=True)
            answers.start()
            with contextlib.suppress(OSError):
                while data := self.request.recv(BLOCK):
                    if self.fault is None:
                        self.fault = self.server.fault_of(data)
                    target.sendall(data)
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _answers(self, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := target.recv(BLOCK):
                fault = self.fault
                if fault is not None and not data.startswith(CONTINUE):
                    data, size = data[: max(0, fault.keep - fault.passed)], len(data)
                    fault.passed += size
                self.request.sendall(data)
                if fault is not None and fault.passed > fault.keep:
                    self.server.faults += 1
                    if not fault.silent:
                        break
        with contextlib.suppress(OSError):
            if self.fault is None or not self.fault.silent:
                self.request.shutdown(socket.SHUT_RDWR)


class Relay(socketserver.ThreadingTCPServer):
    """Listens at `url` and forwards to `target`; `faults` counts the answers that it broke."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        parts = urlsplit(target)
        self.target = (str(parts.hostname), int(parts.port or 0))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults = 0
        self._next: Fault | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def fail_once(
        self, request: bytes, keep: int = 0, silent: bool = False, before: Callable[[], Any] = lambda: None
    ) -> None:
        """Break the answer of the next request whose beginning matches the regular expression."""
        self._next = Fault(re.compile(request), keep, silent, before)

    def fault_of(self, data: bytes) -> Fault | None:
        with self._lock:
            if self._next is None or not self._next.request.match(data):
                return None
            fault, self._next = self._next, None
        fault.before()
        return fault
