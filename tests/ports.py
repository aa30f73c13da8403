"""Ports for servers that tests start."""

from __future__ import annotations

import contextlib
import os
import random
import socket

# Below the ephemeral ports of the system (from 32768), so that no client takes a port before its server listens or
# while the server is stopped. The demo's data API listens 1000 above the demo.
FIRST, LAST = 20_000, 31_000
# Tests run in several processes, each with its own range of ports.
PROCESSES = 8
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
SHARE = (LAST - FIRST) // PROCESSES
_used: set[int] = set()


def free_port() -> int:
    """A port without a listener that no earlier call returned."""
    while True:
        port = FIRST + WORKER * SHARE + random.randrange(SHARE)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _used:
                _used.add(port)
                return port
