"""classify answers mixed calls for half an hour while champions change: memory, descriptors and threads stay flat.

SABUESO_SOAK_MINUTES sets another time.
"""

import http.client
import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from flowers import draw, encode
from serving import ROW
from swapping import CLIENTS, loaded

MINUTES = float(os.environ.get("SABUESO_SOAK_MINUTES", "30"))
PAUSE_S, WAIT_S = 1, 60
CALLERS = 3
JSON, CSV, FORM = "application/json", "text/csv", "multipart/form-data; boundary=x"
LINE = b"11.5,90,red,sun\n"
TOO_LONG = 30_000_000  # bytes; the limit is 20 MB


def csv_of(rows: int) -> bytes:
    return b"petal,turn,colour,place\n" + rows * LINE


def form_of(*pictures: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    return b"\r\n".join([*(head + picture for picture in pictures), b"--x--\r\n"])


CAT = encode(draw("cat", 1))
# Path, content type, body, and the status of the answer.
CALLS = [
    ("flowers", CSV, csv_of(3), 200),
    ("flowers", CSV, csv_of(2_000), 200),
    ("flowers", CSV, csv_of(70_000), 200),  # more than 1 MB: takes memory from the budget
    ("flowers", JSON, json.dumps([ROW] * 300).encode(), 200),
    ("flowers?explain=1", JSON, json.dumps(ROW).encode(), 200),
    ("pets", FORM, form_of(CAT, encode(draw("dog", 2))), 200),
    ("pets", "image/png", encode(draw("cat", 3, (1800, 1300))), 200),  # large: decoded one by one
    ("flowers", JSON, b'{"petal": ', 400),
    ("flowers", JSON, b"[" * 5_000, 400),
    ("flowers?color=red", JSON, json.dumps(ROW).encode(), 400),
    ("flowers", JSON, json.dumps({**ROW, "petal": "wide"}).encode(), 422),
    ("pets", "image/png", CAT[: len(CAT) // 2], 422),
    ("pets", FORM, form_of(b"no picture"), 422),
    ("flowers", "text/html", b"<p>", 415),
    ("weeds", JSON, b"{}", 404),
]
PATHS = ("", "flowers", "pets", "metrics", "openapi.json", "readyz")


def connect(url: str) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=WAIT_S))


def status_of(connection: http.client.HTTPConnection) -> int:
    answer = connection.getresponse()
    answer.read()
    return answer.status


def send(connection: http.client.HTTPConnection, body: bytes, length: int) -> None:
    """Send a POST that promises `length` bytes."""
    connection.putrequest("POST", "/flowers")
    connection.putheader("Content-Type", JSON)
    connection.putheader("Content-Length", str(length))
    connection.endheaders(body)


def call_all(url: str) -> None:
    """One call of each kind, over new connections."""
    for path, content_type, body, status in CALLS:
        with connect(url) as connection:
            connection.request("POST", f"/{path}", body, {"Content-Type": content_type})
            assert status_of(connection) == status, (path, content_type, body[:40])
    for path in PATHS:
        with connect(url) as connection:
            connection.request("GET", f"/{path}")
            assert status_of(connection) == 200, path
    with connect(url) as connection:
        send(connection, b"", TOO_LONG)
        assert status_of(connection) == 413
    with connect(url) as connection:  # a client that disconnects in the middle of its body
        send(connection, b"[" * 100_000, 200_000)


class Callers:
    """Threads that call `call_all` until `end`."""

    def __init__(self, url: str) -> None:
        self.url, self.done = url, threading.Event()
        self.rounds, self.failed = 0, list[Exception]()
        self._threads = [threading.Thread(target=self._run) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self.done.is_set():
            try:
                call_all(self.url)
                self.rounds += 1
            except Exception as error:
                self.failed.append(error)

    def end(self) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()


def usage(processes: list[psutil.Process]) -> dict[str, float]:
    """Of all processes together; shared pages count once."""
    return {
        "memory_mb": sum(process.memory_full_info().pss for process in processes) / 1e6,
        "descriptors": sum(process.num_fds() for process in processes),
        "threads": sum(process.num_threads() for process in processes),
    }


def medians(samples: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(sample[name] for sample in samples), 1) for name in samples[0]}


@pytest.mark.timeout(60 * MINUTES + 600)
def test_memory_descriptors_and_threads_stay_flat(
    mlflow: Any, serve: Callable[..., Any], bundles: Path, secrets: Path, tmp_path: Path
) -> None:
    samples: list[dict[str, float]] = []
    with loaded(mlflow, serve, bundles, secrets, tmp_path) as found:
        assert found.function.process is not None
        main = psutil.Process(found.function.process.pid)
        processes = [main, *main.children(recursive=True)]
        callers = Callers(found.function.url)
        try:
            until = time.monotonic() + 60 * MINUTES
            for version in itertools.cycle("21"):
                found.change(version)
                samples.append(usage(processes))
                if time.monotonic() > until:
                    break
                time.sleep(PAUSE_S)
        finally:
            callers.end()
        assert [main, *main.children(recursive=True)] == processes, "a worker was replaced"
    assert callers.failed == []
    counts: Counter[str] = Counter()
    for (name, _), count in found.clients.counts.items():
        counts[name] += count
    fifth = len(samples) // 5
    fifths = [medians(samples[place * fifth : (place + 1) * fifth]) for place in range(5)]
    print(f"{MINUTES:g} minutes: {dict(counts)}, {callers.rounds} rounds of other calls, {len(samples)} champions")
    print(*fifths, sep="\n")
    _, early, *_, late = fifths  # the first fifth is a warm-up: caches grow
    assert late["memory_mb"] < 1.05 * early["memory_mb"] + 3
    assert late["descriptors"] <= early["descriptors"] + CALLERS
    # Pools of threads keep growing until the most calls that ever came at once have one each.
    assert late["threads"] <= early["threads"] + CLIENTS + CALLERS
