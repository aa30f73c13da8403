"""Counts and times requests for Prometheus; adds up all workers if PROMETHEUS_MULTIPROC_DIR names a folder.

prometheus_client reads that variable at import, so server.py sets it first.
"""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
REQUESTS = Counter("sabueso_http_requests", "Answered requests.", ["function", "route", "method", "status"])
SECONDS = Histogram(
    "sabueso_http_request_duration_seconds", "Seconds until the answer was ready to send.", ["function", "route"]
)


def count_request(function: str, route: str, method: str, status: int, seconds: float) -> None:
    REQUESTS.labels(function, route, method, status).inc()
    SECONDS.labels(function, route).observe(seconds)


def exposition() -> bytes:
    """All metrics in Prometheus's text format."""
    if FOLDER_VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
