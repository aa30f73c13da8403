"""Counts requests and their seconds, of all processes that answer, for Prometheus."""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from common.log import log

# Upper bounds in seconds, Prometheus's own defaults.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
QUIET = ("healthz", "readyz", "metrics")
# Of an endpoint: its seconds, how many answers took so long, and how many had each status from 100 to 599.
PLACES, STATUSES = len(BOUNDS) + 1, 500
WIDTH = 1 + PLACES + STATUSES
MOST_ENDPOINTS = 64


class Tally:
    """Requests by endpoint and status, seconds by endpoint. Prometheus's library comes in when it is asked.

    Each process writes to a part of its own of memory that all of them read: it is made before they are forked, and
    where there are several, their `endpoints` are known by then.
    """

    def __init__(self, function: str, processes: int = 1, endpoints: Sequence[str] = ()) -> None:
        self.function = function
        self._endpoints = {name: place for place, name in enumerate(endpoints)}
        size = MOST_ENDPOINTS * WIDTH
        self._parts = [memoryview(mmap.mmap(-1, 8 * size)).cast("d") for _ in range(processes)]
        self._own = self._parts[0]
        self._lock = threading.Lock()

    def begin(self, place: int) -> None:
        """This process is the one at that place."""
        self._own = self._parts[place]

    def end(self, endpoint: str, method: str, path: str, status: int, seconds: float) -> None:
        """A request was answered: it is counted, and but for those that come every few seconds logged."""
        with self._lock:
            start = WIDTH * self._endpoints.setdefault(endpoint, len(self._endpoints))
            self._own[start] += seconds
            self._own[start + 1 + bisect_left(BOUNDS, seconds)] += 1
            self._own[start + 1 + PLACES + status - 100] += 1
        if endpoint not in QUIET:
            log(self.function, method, path=path, status=status, ms=round(seconds * 1000, 1))

    def collect(self) -> Iterator[Any]:
        """As prometheus_client asks for it."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        labels = ["function", "endpoint"]
        count = CounterMetricFamily("sabueso_requests", "Requests answered", labels=[*labels, "status"])
        took = HistogramMetricFamily("sabueso_request_seconds", "Seconds an answer took", labels=labels)
        for endpoint, place in list(self._endpoints.items()):
            each = [part[WIDTH * place : WIDTH * (place + 1)].tolist() for part in self._parts]
            seconds, *counted = map(sum, zip(*each, strict=True))
            for status, number in enumerate(counted[PLACES:], start=100):
                if number:
                    count.add_metric([self.function, endpoint, str(status)], number)
            buckets, up_to = [], 0.0
            for bound, number in zip((*BOUNDS, "+Inf"), counted[:PLACES], strict=True):
                up_to += number
                buckets.append((str(bound), up_to))
            if up_to:
                took.add_metric([self.function, endpoint], buckets, seconds)
        yield count
        yield took

    def text(self) -> bytes:
        """In Prometheus's text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return bytes(generate_latest(registry))
