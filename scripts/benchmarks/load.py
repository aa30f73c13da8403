"""Clients that call without a pause, each over one connection that it keeps."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from benchmarks.inputs import Input
from benchmarks.wire import Wire, request_bytes
from deployment.smoke import TIMEOUT_S


class Clients:
    """So many at once, for so many seconds or calls; `answers` are (status or what went wrong, seconds).

    Of several URLs each client has the next one. `last` is the body of an answer with 200, for whoever wants to know
    that it is right.
    """

    def __init__(self, urls: Sequence[str], request: bytes, verify: bool = True, timeout_s: float = TIMEOUT_S) -> None:
        self.urls, self.request, self.verify, self.timeout_s = urls, request, verify, timeout_s
        self.answers: list[tuple[str, float]] = []
        self.last = b""
        self._calls, self._number = 0, count()

    def run(self, clients: int, seconds: float, calls: int) -> float:
        """Returns the seconds until the last answer."""
        self._calls = calls
        urls = [self.urls[number % len(self.urls)] for number in range(clients)]
        threads = [threading.Thread(target=self._run, args=(url, seconds), daemon=True) for url in urls]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    def _run(self, url: str, seconds: float) -> None:
        wire, request, clock = Wire(url, self.timeout_s, self.verify), self.request, time.perf_counter
        answers: list[tuple[str, float]] = []
        until = clock() + seconds
        while (began := clock()) < until and next(self._number) < self._calls:
            try:
                answer = wire.call(request)
                told = str(answer.status)
            except OSError as error:  # the next call opens a new connection
                told = type(error).__name__
            took = clock() - began
            answers.append((told, took))
            if told == "200":
                self.last = answer.body
            else:
                time.sleep(max(0.0, 0.05 - took))  # who is refused at once must not ask a thousand times a second
        wire.close()
        self.answers += answers


def measure(url: str, one: Input, clients: int, seconds: float, calls: int, verify: bool = True) -> dict[str, Any]:
    """Calls of an input of classify behind a gateway, as `measured` tells them."""
    path = f"{urlsplit(url).path.rstrip('/')}/function/classify/{one.pipeline}"
    at_work = Clients([url], request_bytes(url, path, one.body, one.content_type), verify)
    return measured(at_work, clients, seconds, calls)


def measured(at_work: Clients, clients: int, seconds: float, calls: int) -> dict[str, Any]:
    """Calls, times of those that were answered with 200, and all answers by status.

    `client_cpu_ms`: what one call cost this program itself, on cores that the deployment may share.
    """
    cpu = time.process_time()
    took = at_work.run(clients, seconds, calls)
    cpu = time.process_time() - cpu
    good = sorted(seconds for told, seconds in at_work.answers if told == "200")
    total = len(at_work.answers)
    return {
        "calls": total,
        "seconds": round(took, 2),
        "per_second": round(len(good) / took, 1),
        **{f"p{share}_ms": percentile(good, share) for share in (50, 95, 99)},
        "errors": total - len(good),
        "statuses": dict(sorted(Counter(told for told, _ in at_work.answers).items())),
        "client_cpu_ms": round(cpu * 1000 / max(1, total), 3),
    }


def percentile(ordered: list[float], share: int) -> float | None:
    """The smallest value that at least `share` per cent don't exceed (nearest rank), in ms; None of none."""
    if not ordered:
        return None
    return round(ordered[max(0, -(-len(ordered) * share // 100) - 1)] * 1000, 2)
