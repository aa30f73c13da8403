"""Processes with a log each: started together, watched, started again when one dies, stopped together."""

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

from stopping import held_back

LOG_LINES = 15
MOST_DEATHS = 5
STOP_S = 8.0


@dataclass
class Process:
    """One program; its own session, so that what it starts ends with it."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    deaths: list[float] = field(default_factory=list)
    child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output, held_back():
            self.child = subprocess.Popen(
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
    """All processes of a local system. `broken` is set when one dies again and again."""

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
        """Stop one and start it with another environment."""
        with self._lock:
            process = self._all[name]
            _stop([process])
            process.environment = environment
            process.start()

    def stop(self) -> None:
        """End all of them and what they started: SIGTERM, then SIGKILL."""
        self._stopping.set()
        with self._lock:
            _stop(list(self._all.values()))

    def log_end(self, name: str) -> str:
        return self._all[name].log_end()

    def _watch(self) -> None:
        while not self._stopping.wait(0.3):
            with self._lock:
                for process in self._all.values():
                    if process.child is not None and process.child.poll() is not None and self.broken is None:
                        self._bury(process)

    def _bury(self, process: Process) -> None:
        """Report a death with the end of its log, and start it again as a platform would."""
        assert process.child is not None
        code = process.child.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        print(f"\n! {process.name} ended with {how}. The end of {process.log}:\n{process.log_end()}", file=sys.stderr)
        process.signal_group(signal.SIGKILL)
        now = time.monotonic()
        process.deaths = [*(death for death in process.deaths if now - death < 60), now]
        if len(process.deaths) >= MOST_DEATHS:
            self.broken = f"{process.name} died {MOST_DEATHS} times in a minute"
            return
        print(f"  {process.name} is started again", file=sys.stderr, flush=True)
        process.start()


def _stop(processes: list[Process]) -> None:
    """As a platform does: each is told itself, and ends what it started; what is left of that is killed."""
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
