"""The figures of one server under the calls of 1, 8 and 32 clients."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.generator import Generator
from benchmarks.served import NotServing, Served

CLIENTS = (1, 8, 32)
TICKS = os.sysconf("SC_CLK_TCK")


def under_load(
    served: Served,
    generator: Generator,
    request: bytes,
    right: Callable[[str], bool],
    seconds: float,
    clients: Sequence[int] = CLIENTS,
) -> dict[str, Any]:
    """Calls a second, times, CPU of one call for each number of clients. Raises NotServing where answers are wrong.

    `others_cpu`: the most of this machine that other programs used meanwhile, 0 to 1; they make the figures worse.
    """
    found: dict[str, Any] = {"others_cpu": 0.0}
    for number in clients:
        generator.measure(served.url, request, number, min(1.0, seconds / 4))  # warm-up
        before, busy, began = served.cpu_s(), busy_s(), time.perf_counter()
        told = generator.measure(served.url, request, number, seconds)
        cpu, took = served.cpu_s() - before, time.perf_counter() - began
        others = busy_s() - busy - cpu - told["client_cpu_ms"] * told["calls"] / 1000
        found["others_cpu"] = round(max(found["others_cpu"], others / took / (os.cpu_count() or 1)), 2)
        if told["errors"] > 0.01 * told["calls"] or not right(told["body"]):
            raise NotServing(f"{number} clients: {told['statuses']}, the last 200: {told['body'][:200]}")
        found |= {f"rps_c{number}": told["per_second"], f"cpu_ms_c{number}": round(cpu * 1000 / told["calls"], 3)}
        found |= {f"{share}_ms_c{number}": told[f"{share}_ms"] for share in ("p50", "p99")}
        found[f"client_cpu_ms_c{number}"] = told["client_cpu_ms"]
        if told["errors"]:
            found[f"errors_c{number}"] = told["errors"]
    return found


def busy_s() -> float:
    """Seconds of CPU that this machine's cores have worked, or were taken away, since it started."""
    ticks = [int(one) for one in Path("/proc/stat").read_text(encoding="ascii").split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS  # all but idle, and waiting for a disk
