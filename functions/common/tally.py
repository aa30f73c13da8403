"""Counts requests and their seconds, for Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Any

from common.log import log

# Upper bounds in seconds, Prometheus's own defaults.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
QUIET = ("healthz", "readyz", "metrics")


class Tally:
    """Requests by endpoint and status, seconds by endpoint. Prometheus's library comes in when it is asked."""

    def __init__(self, function: str) -> None:
        self.function = function
        self._requests: Counter[tuple[str, int]] = Counter()
        self._places: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def end(self, endpoint: str, method: str, path: str, status: int, seconds: float) -> None:
        """A request was answered: it is counted, and but for those that come every few seconds logged."""
        with self._lock:
            self._requests[endpoint, status] += 1
            self._seconds[endpoint] = self._seconds.get(endpoint, 0.0) + seconds
            places = self._places.setdefault(endpoint, [0] * (len(BOUNDS) + 1))
            places[bisect_left(BOUNDS, seconds)] += 1
        if endpoint not in QUIET:
            log(self.function, method, path=path, status=status, ms=round(seconds * 1000, 1))

    def collect(self) -> Iterator[Any]:
        """As prometheus_client asks for it."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        labels = ["function", "endpoint"]
        count = CounterMetricFamily("sabueso_requests", "Requests answered", labels=[*labels, "status"])
        took = HistogramMetricFamily("sabueso_request_seconds", "Seconds an answer took", labels=labels)
        with self._lock:
            for (endpoint, status), number in self._requests.items():
                count.add_metric([self.function, endpoint, str(status)], number)
            for endpoint, places in self._places.items():
                buckets, up_to = [], 0
                for bound, number in zip((*BOUNDS, "+Inf"), places, strict=True):
                    up_to += number
                    buckets.append((str(bound), up_to))
                took.add_metric([self.function, endpoint], buckets, self._seconds[endpoint])
        yield count
        yield took

    def text(self) -> bytes:
        """In Prometheus's text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return bytes(generate_latest(registry))
