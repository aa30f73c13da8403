"""A server under measurement: started, asked until it answers right, its memory and CPU read, ended."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from benchmarks.wire import Answer, Wire
from local.system import free_port
from stopping import held_back

EVERY_S = 0.005
STOP_S = 10.0
LOG_LINES = 12


class NotServing(Exception):
    """Why a server can't be measured."""


class Served:
    """One server and all that it starts, in a session of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, port: int) -> None:
        self.command, self.environment, self.folder = list(command), dict(environment), folder
        self.url, self.log = f"http://127.0.0.1:{port}", folder / "server.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._known: dict[int, psutil.Process] = {}

    def start(self, request: bytes, right: Callable[[bytes], bool], seconds: float) -> float:
        """Seconds from exec to the first right answer, each asked for over a new connection. Raises NotServing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output, held_back():
            began = time.perf_counter()
            self._child = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        told = "no answer"
        while time.perf_counter() - began < seconds:
            if self._child.poll() is not None:
                raise NotServing(f"it ended with {self._child.returncode}; its log ends:\n{self._log_end()}")
            asked = time.perf_counter()
            try:
                answer = once(self.url, request, seconds)
            except OSError as error:
                told = type(error).__name__
            else:
                if answer.status == 200 and right(answer.body):
                    return time.perf_counter() - began
                told = f"{answer.status} {answer.body[:200].decode('utf-8', 'replace')}"
            time.sleep(max(0.0, EVERY_S - (time.perf_counter() - asked)))
        raise NotServing(f"no right answer in {seconds:.0f} s, the last: {told}; its log ends:\n{self._log_end()}")

    def processes(self) -> list[psutil.Process]:
        """The program and what it started, as far as they live."""
        if self._child is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._child.pid)
            for one in [root, *root.children(recursive=True)]:
                self._known.setdefault(one.pid, one)
        return [one for one in self._known.values() if one.is_running()]

    def cpu_s(self) -> float:
        """Seconds of CPU that they have used; a process that has ended counts no more."""
        total = 0.0
        for one in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
        return total

    def pss_mb(self) -> float:
        """Resident memory, what processes share counted once."""
        return sum(_kilobytes(one.pid, "smaps_rollup", "Pss") for one in self.processes()) * 1024 / 1e6

    def begin_peak(self) -> float:
        """The peak counts from now on (5 to clear_refs); MB that are resident."""
        for one in self.processes():
            Path(f"/proc/{one.pid}/clear_refs").write_text("5", encoding="ascii")
        return self._status_mb("VmRSS")

    def peak_mb(self) -> float:
        """The most that was resident since (VmHWM), of each process for itself, joined."""
        return self._status_mb("VmHWM")

    def _status_mb(self, name: str) -> float:
        return sum(_kilobytes(one.pid, "status", name) for one in self.processes()) * 1024 / 1e6

    def stop(self) -> None:
        """SIGTERM to the session, SIGKILL to what is left of it after ten seconds."""
        if self._child is None:
            return
        left = self.processes()
        for number, seconds in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)
            if number == signal.SIGKILL:
                for one in left:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
            left = psutil.wait_procs([one for one in left if one.pid != self._child.pid], seconds)[1]
        self._child, self._known = None, {}

    def _log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(f"    {line[:300]}" for line in lines)


def once(url: str, request: bytes, timeout_s: float) -> Answer:
    """One call over a connection of its own. Raises OSError."""
    wire = Wire(url, timeout_s)
    try:
        return wire.call(request)
    finally:
        wire.close()


def a_port() -> int:
    """A free port below those that the system gives out by itself."""
    return free_port(random.randrange(20_000, 31_000))


def _kilobytes(pid: int, file: str, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0
