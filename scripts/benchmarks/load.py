"""Clients that call without a pause, each over one connection that it keeps."""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from benchmarks.inputs import Input
from deployment.smoke import TIMEOUT_S


class Clients:
    """So many at once, for so many seconds or calls; `answers` are (status or what went wrong, seconds)."""

    def __init__(self, url: str, one: Input, verify: bool) -> None:
        self.parts, self.verify, self.input = urlsplit(url), verify, one
        self.path = f"{self.parts.path.rstrip('/')}/function/classify/{one.pipeline}"
        self.answers: list[tuple[str, float]] = []
        self._left, self._lock = 0, threading.Lock()

    def run(self, clients: int, seconds: float, calls: int) -> float:
        """Returns the seconds until the last answer."""
        self._left = calls
        threads = [threading.Thread(target=self._run, args=(seconds,), daemon=True) for _ in range(clients)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    def _run(self, seconds: float) -> None:
        connection, until = self._connection(), time.perf_counter() + seconds
        while time.perf_counter() < until and self._may_go_on():
            began = time.perf_counter()
            try:
                connection.request("POST", self.path, self.input.body, {"Content-Type": self.input.content_type})
                answer = connection.getresponse()
                answer.read()
                told = str(answer.status)
            except (OSError, HTTPException) as error:  # the next call opens a new connection
                connection.close()
                told = type(error).__name__
            took = time.perf_counter() - began
            self.answers.append((told, took))
            if told != "200":
                time.sleep(max(0.0, 0.05 - took))  # who is refused at once must not ask a thousand times a second
        connection.close()

    def _may_go_on(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _connection(self) -> HTTPConnection:
        host, port = self.parts.hostname or "", self.parts.port
        if self.parts.scheme == "http":
            return HTTPConnection(host, port, timeout=TIMEOUT_S)
        context = ssl.create_default_context() if self.verify else ssl._create_unverified_context()  # noqa: S323
        return HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def measure(url: str, one: Input, clients: int, seconds: float, calls: int, verify: bool = True) -> dict[str, Any]:
    """Calls, times of those that were answered with 200, and all answers by status.

    `client_cpu_ms`: what one call cost this program itself, on cores that the deployment may share.
    """
    at_work, cpu = Clients(url, one, verify), time.process_time()
    took = at_work.run(clients, seconds, calls)
    cpu = time.process_time() - cpu
    good = sorted(seconds for told, seconds in at_work.answers if told == "200")
    count = len(at_work.answers)
    return {
        "calls": count,
        "seconds": round(took, 2),
        "per_second": round(len(good) / took, 1),
        **{f"p{share}_ms": percentile(good, share) for share in (50, 95, 99)},
        "errors": count - len(good),
        "statuses": dict(sorted(Counter(told for told, _ in at_work.answers).items())),
        "client_cpu_ms": round(cpu * 1000 / max(1, count), 2),
    }


def percentile(ordered: list[float], share: int) -> float | None:
    """The smallest value that at least `share` per cent don't exceed (nearest rank), in ms; None of none."""
    if not ordered:
        return None
    return round(ordered[max(0, -(-len(ordered) * share // 100) - 1)] * 1000, 1)
