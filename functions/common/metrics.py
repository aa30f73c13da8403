"""Requests counted and timed for Prometheus, over all workers where the environment names a folder for that.

prometheus_client reads PROMETHEUS_MULTIPROC_DIR when it is imported, so server.py sets it before.
"""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
REQUESTS = Counter("sabueso_http_requests", "Requests answered.", ["function", "route", "method", "status"])
SECONDS = Histogram(
    "sabueso_http_request_duration_seconds", "Seconds until an answer was ready to be sent.", ["function", "route"]
)


def count_request(function: str, route: str, method: str, status: int, seconds: float) -> None:
    REQUESTS.labels(function, route, method, status).inc()
    SECONDS.labels(function, route).observe(seconds)


def exposition() -> bytes:
    """All metrics in Prometheus's text format."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
