"""Processes that answer behind one socket. They are forked once the networks are loaded, so they share that memory."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from common.log import log


@dataclass
class Forks:
    """This process among them: the first has place 0, and the others as children."""

    place: int = 0
    children: list[int] = field(default_factory=list)
    failed: bool = False
    _ending: bool = False

    def watch(self, function: str) -> None:
        """In the first process: if one of the others ends by itself, so does this one, seen by whoever started it."""

        def look(child: int) -> None:
            _, status = os.waitpid(child, 0)
            if not self._ending:
                self.failed = True
                log(function, "a process ended", pid=child, status=os.waitstatus_to_exitcode(status))
                os.kill(os.getpid(), signal.SIGTERM)

        for child in self.children:
            threading.Thread(target=look, args=(child,), name="fork", daemon=True).start()

    def end(self) -> None:
        """Tell the others to end, each with the last answer of its own."""
        self._ending = True
        self._send(signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        """Until the others have ended; those that take longer are killed."""
        lookers, until = [one for one in threading.enumerate() if one.name == "fork"], time.monotonic() + seconds
        for looker in lookers:
            looker.join(max(0.0, until - time.monotonic()))
        if any(looker.is_alive() for looker in lookers):
            self._send(signal.SIGKILL)

    def _send(self, what: signal.Signals) -> None:
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, what)


class SharedLock:
    """A lock that processes which are forked later share, and their threads. It is free again when its holder dies."""

    def __init__(self) -> None:
        self._file, path = tempfile.mkstemp()
        Path(path).unlink()
        self._threads = threading.Lock()

    def __enter__(self) -> None:
        self._threads.acquire()  # what a process has locked, all its threads have
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
        except OSError:
            self._threads.release()
            raise

    def __exit__(self, *error: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)
        self._threads.release()


def fork(count: int) -> Forks:
    """So many processes, this one included; it returns in each. No other thread may run yet.

    A child ends when the first process is gone, however that ended.
    """
    if count < 2:
        return Forks()
    gc.collect()
    gc.freeze()  # the collector would write to what they share
    alive, held = os.pipe()
    children = []
    for place in range(1, count):
        child = os.fork()
        if child == 0:
            os.close(held)
            threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
            return Forks(place)
        children.append(child)
    os.close(alive)  # `held` stays open as long as this process lives
    return Forks(0, children)


def _end_with(alive: int) -> None:
    os.read(alive, 1)
    os._exit(1)  # at once: as long as it listens, nobody can take the first one's place
