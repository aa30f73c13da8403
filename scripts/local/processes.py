"""Processes, each with a log: started together, restarted when they die, stopped together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deferred_signals import deferred_signals

LOG_LINES = 15
MAX_DEATHS = 5
STOP_S = 8.0


@dataclass
class Process:
    """One program, in its own session, so that its children end with it."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    deaths: list[float] = field(default_factory=list)
    child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output, deferred_signals():
            self.child = subprocess.Popen(  # noqa: S603 (words, no shell)
                self.command,
                env=dict(self.environment),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def signal_group(self, number: signal.Signals) -> None:
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, number)

    def log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES:])


class Processes:
    """All processes of a local system. `broken` is the reason once a process keeps dying."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broken: str | None = None
        self._all: dict[str, Process] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        process = Process(name, command, environment, folder, self.folder / f"{name}.log")
        with self._lock:
            self._all[name] = process
            process.start()
        if not self._watcher.is_alive():
            self._watcher.start()

    def restart(self, name: str, environment: Mapping[str, str]) -> None:
        """Restart a process with another environment."""
        with self._lock:
            process = self._all[name]
            _stop([process])
            process.environment = environment
            process.start()

    def stop(self) -> None:
        """Stop all processes and their children: SIGTERM, then SIGKILL."""
        self._stopping.set()
        with self._lock:
            _stop(list(self._all.values()))

    def log_end(self, name: str) -> str:
        return self._all[name].log_end()

    def _watch(self) -> None:
        while not self._stopping.wait(0.3):
            with self._lock:
                for process in self._all.values():
                    child = process.child
                    if child is not None and child.poll() is not None and self.broken is None:
                        self._restart_dead(process, child.returncode)

    def _restart_dead(self, process: Process, code: int) -> None:
        """Report the death with the end of the log, and restart the process as a platform would."""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        print(f"\n! {process.name} ended with {how}. The end of {process.log}:\n{process.log_end()}", file=sys.stderr)
        process.signal_group(signal.SIGKILL)
        now = time.monotonic()
        process.deaths = [*(death for death in process.deaths if now - death < 60), now]
        if len(process.deaths) >= MAX_DEATHS:
            self.broken = f"{process.name} died {MAX_DEATHS} times within a minute"
            return
        print(f"  restarting {process.name}", file=sys.stderr, flush=True)
        process.start()


def _stop(processes: list[Process]) -> None:
    """As platforms do: SIGTERM to each process, which stops its children; after 8 s SIGKILL to its whole group."""
    for process in processes:
        if process.child is not None:
            process.child.terminate()
    until = time.monotonic() + STOP_S
    for process in processes:
        if process.child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.child.wait(max(0.1, until - time.monotonic()))
            process.signal_group(signal.SIGKILL)
            process.child.wait()
