"""The socket at which a function listens. Of several processes, the one with the fewest connections takes the next."""

from __future__ import annotations

import mmap
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

# Connections that may wait to be taken; seconds that a process leaves one to another that has fewer, but may be busy.
BACKLOG, PATIENCE_S = 2048, 0.002
REACHED_S = 1.0


class Listening(socket.socket):
    """A listening socket that processes share; each asks again and again, as asyncio does."""

    def __init__(self, family: socket.AddressFamily, processes: int = 1) -> None:
        # Named as TCP, or asyncio would not turn Nagle's algorithm off: an answer goes in two parts, and would take
        # 40 ms.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.place = 0
        # How many connections each process has taken, and how many of them have ended.
        counts = memoryview(mmap.mmap(-1, 16 * processes)).cast("q")
        self._begun, self._ended = counts[:processes], counts[processes:]
        # How many had been taken when this process began to leave one to another, and when that was.
        self._left = (-1, 0.0)

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError where none waits, or another process shall take it."""
        if self._leave():
            raise BlockingIOError
        connection, address = super().accept()
        self._begun[self.place] += 1
        return _Connection(connection, partial(self._count_closed, self.place)), address

    def _leave(self) -> bool:
        """True if another process has fewer connections, and had not the time to take this one yet."""
        each = [begun - ended for begun, ended in zip(self._begun, self._ended, strict=True)]
        if each[self.place] <= min(each):
            return False
        begun, now = sum(self._begun), time.monotonic()
        if begun != self._left[0]:
            self._left = (begun, now)
        return now - self._left[1] < PATIENCE_S

    def _count_closed(self, place: int) -> None:
        self._ended[place] += 1


class _Connection(socket.socket):
    """The same connection, which tells when it is closed."""

    def __init__(self, connection: socket.socket, closed: Callable[[], None]) -> None:
        super().__init__(connection.family, connection.type, connection.proto, connection.detach())
        self._told: Callable[[], None] | None = closed

    def close(self) -> None:
        told, self._told = self._told, None
        if told is not None:
            told()
        super().close()


def listen(host: str, port: int, processes: int = 1) -> Listening:
    """Raises OSError where no server can."""
    listening = Listening(socket.AF_INET6 if ":" in host else socket.AF_INET, processes)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(BACKLOG)
    return listening


def reachable(listening: socket.socket) -> bool:
    """True if a connection to this very server can be made."""
    host, port = listening.getsockname()[:2]
    try:
        with socket.create_connection(("127.0.0.1" if host == "0.0.0.0" else host, port), REACHED_S):
            return True
    except OSError:
        return False
