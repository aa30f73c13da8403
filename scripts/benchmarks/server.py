"""A server under measurement: started, loaded by eight clients, stopped."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Self

import psutil

from benchmarks.calls import Call
from benchmarks.wrk import WARM_UP_S, MeasurementFailed, load
from local.processes import Process

POLL_S, START_S, STOP_S = 0.005, 180.0, 10.0
CLIENTS = 8


class Server:
    """A program and its child processes; they end with the `with` block."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._process = Process("server", list(command), environment, folder, folder / "server.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """SIGTERM to all of them, SIGKILL to those left after ten seconds."""
        processes = self.processes()
        self._process.signal_group(signal.SIGTERM)
        for process in psutil.wait_procs(processes, STOP_S)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.signal_group(signal.SIGKILL)

    def start(self, call: Call) -> float:
        """Seconds from exec to the first correct answer. Raises MeasurementFailed."""
        began, reason = time.perf_counter(), ""
        self._process.start()
        while time.perf_counter() - began < START_S and self.processes():
            try:
                call.check(self.url)
                return time.perf_counter() - began
            except (OSError, HTTPException, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
            time.sleep(POLL_S)
        raise MeasurementFailed(f"no correct answer ({reason}); the end of its log:\n{self._process.log_end()}")

    def processes(self) -> list[psutil.Process]:
        """The program and its child processes; empty if it has ended."""
        child = self._process.child
        if child is None or child.poll() is not None:
            return []
        program = psutil.Process(child.pid)
        return [program, *program.children(recursive=True)]

    def cpu_s(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self.processes()))

    def pss_mb(self) -> float:
        """Resident memory; shared pages count once."""
        return sum(process.memory_full_info().pss for process in self.processes()) / 1e6


@dataclass(frozen=True, eq=False)
class Candidate:
    """A server in one configuration, measured with one kind of input; it must also answer the calls `also`."""

    name: str
    configuration: str
    call: Call
    server: Callable[[], Server]
    also: tuple[Call, ...] = ()

    @property
    def kind(self) -> str:
        return self.call.case.kind

    def measure(self, seconds: int) -> dict[str, float]:
        """Figures of one start. Raises MeasurementFailed if more than 1 % of the answers fail.

        `others`: the share of this machine that other programs used during the measurement.
        """
        call = self.call
        with self.server() as server:
            start_s = server.start(call)
            for other in self.also:
                other.check(server.url)
            url = server.url + call.path
            load(url, call.body, call.content_type, CLIENTS, WARM_UP_S)
            began, cpu_s, own_s, _ = time.perf_counter(), server.cpu_s(), sum(os.times()[:4]), psutil.cpu_percent()
            loaded = load(url, call.body, call.content_type, CLIENTS, seconds)
            busy, took = psutil.cpu_percent() / 100, time.perf_counter() - began
            # own_s: CPU time of the bench and of its finished child, wrk.
            cpu_s, own_s = server.cpu_s() - cpu_s, sum(os.times()[:4]) - own_s
            others = busy - (cpu_s + own_s) / took / (os.cpu_count() or 1)
            if not loaded["calls"] or loaded["errors"] > loaded["calls"] / 100:
                raise MeasurementFailed(f"{loaded['errors']} of {loaded['calls']} calls failed: {loaded['failed']}")
            call.check(server.url)
            figures = {name: float(loaded[name]) for name in ("calls_per_s", "p50_ms", "p99_ms")}
            more = {"cpu_ms": 1000 * cpu_s / loaded["calls"], "pss_mb": server.pss_mb(), "start_s": start_s}
            return {**figures, **more, "others": max(0.0, others)}


def free_port() -> int:
    """A free port below those that the system assigns by itself."""
    while True:
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", random.randrange(20_000, 31_000)))  # noqa: S311 (a free port)
            return int(tried.getsockname()[1])
