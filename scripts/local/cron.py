"""A local cron-connector: posts an empty body to functions at the times of their annotations."""

from __future__ import annotations

import sys
import threading
import time

import requests
from croniter import croniter

from local.stack import Function


def start_cron(functions: list[Function], gateway: str, stop: threading.Event) -> list[threading.Thread]:
    """Start a thread for each function with a schedule; the threads end when `stop` is set."""
    threads = []
    for function in functions:
        if function.schedule is None:
            continue
        if not croniter.is_valid(function.schedule):
            raise ValueError(f"{function.name}: the schedule {function.schedule!r} is not a cron expression")
        thread = threading.Thread(
            target=_tick, args=(function, gateway, stop), name=f"cron {function.name}", daemon=True
        )
        thread.start()
        threads.append(thread)
    return threads


def _tick(function: Function, gateway: str, stop: threading.Event) -> None:
    times = croniter(function.schedule, time.time())
    while not stop.wait(max(0.0, times.get_next(float) - time.time())):
        try:
            requests.post(f"{gateway}/function/{function.name}", data=b"", timeout=65)
        except requests.RequestException as error:
            print(f"! cron: {function.name} did not answer: {type(error).__name__}", file=sys.stderr)
