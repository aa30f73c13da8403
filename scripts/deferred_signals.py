"""Defers Ctrl-C and SIGTERM while a process starts, so that it is always registered before it has to be stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Signals that arrive in the body are raised again after it. Only in the main thread, where handlers run.

    Handlers are replaced instead of blocking the signals: child processes would inherit the blocked mask.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {number: signal.signal(number, lambda arrived, _: received.append(arrived)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for arrived in received:
            signal.raise_signal(arrived)
