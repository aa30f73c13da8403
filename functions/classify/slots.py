"""Limits how many calls of a worker compute at once, and how many stream their answers."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from common.admission import CALL, Environ
from common.errors import Busy
from common.inference.contract import Kind

# Calls with rows that compute at once. Pictures go one by one: each further one would need an interpreter as large as
# the network. A slow reader of a streamed answer holds its stream for as long as it reads.
ROW_SLOTS, STREAMS = 2, 4
LOCK_POLL_S = 0.02


class Slots:
    """The slots of one worker. A call waits for one for at most `queue_s` seconds.

    Large inputs go one by one through all workers, which share the container's memory: they lock a file in `scratch`.
    """

    def __init__(self, queue_s: float, scratch: Path) -> None:
        self.queue_s, self.lock_file = queue_s, scratch / "large-inputs.lock"
        self._rows, self._picture = threading.BoundedSemaphore(ROW_SLOTS), threading.Lock()
        self._streams = threading.BoundedSemaphore(STREAMS)

    @contextmanager
    def compute(self, kind: Kind, is_large: bool = False) -> Iterator[None]:
        """Hold a slot for a pipeline of that kind. Raises Busy if none becomes free in time."""
        slot, until = self._picture if kind == "image" else self._rows, time.monotonic() + self.queue_s
        if not slot.acquire(timeout=self.queue_s):
            raise Busy(f"no other call ended within {self.queue_s:g} s")
        try:
            with self._large(until) if is_large else nullcontext():
                yield
        finally:
            slot.release()

    @contextmanager
    def _large(self, until: float) -> Iterator[None]:
        with self.lock_file.open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise Busy(f"no other large input was done within {self.queue_s:g} s") from None
                    time.sleep(LOCK_POLL_S)
                else:
                    break
            yield

    def begin_stream(self, environ: Environ) -> None:
        """Reserve a streamed answer until it is sent. Raises Busy if none becomes free in time."""
        if not self._streams.acquire(timeout=self.queue_s):
            raise Busy("this worker is at its limit of streamed answers")
        environ[CALL].callback(self._streams.release)
