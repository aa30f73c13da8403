"""Ports for servers that tests start."""

from __future__ import annotations

import contextlib
import os
import random
import socket

# Below those that systems give out by themselves (32768 and more), so that nobody takes one before its server listens,
# or while that is stopped. The demo's data API listens 1000 above the demo.
FIRST, LAST = 20_000, 31_000
# Tests run side by side in several processes, each with ports of its own.
PROCESSES = 8
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
SHARE = (LAST - FIRST) // PROCESSES
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on and that no other call got."""
    while True:
        port = FIRST + WORKER * SHARE + random.randrange(SHARE)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
