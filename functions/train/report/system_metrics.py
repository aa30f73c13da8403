"""What a training takes of its machine, under MLflow's own names, so that its page shows them by themselves.

MLflow's own monitor ends for good at the first call that fails; a training outlives an MLflow that is away.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

import psutil
from mlflow.entities import Metric

EVERY_S = 5.0


class SystemMetrics:
    """Samples in a thread of its own while it is entered. What it sampled waits for `take`, and is sent by others.

    Steps are counted from `began_s` (seconds since 1970) on, so that a training that was taken up goes on counting.
    """

    def __init__(self, began_s: float, every_s: float = EVERY_S) -> None:
        self.began_s, self.every_s = began_s, every_s
        self._waiting: deque[Metric] = deque()
        self._process = psutil.Process()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="system-metrics", daemon=True)

    def __enter__(self) -> Self:
        psutil.cpu_percent()  # the share of the time since the call before: the first call says nothing
        self._process.cpu_percent()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def take(self) -> list[Metric]:
        """The samples since the last time; each is given once."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def _sample(self) -> None:
        over = False
        while not over:
            over = self._over.wait(self.every_s)  # one sample more at the end: a short training has one too
            now = time.time()
            step = max(0, round((now - self.began_s) / self.every_s))
            try:
                measured = self._measure()
            except (OSError, psutil.Error):  # a machine that hides something does without these
                continue
            self._waiting.extend(
                Metric(f"system/{name}", round(value, 1), int(now * 1000), step) for name, value in measured.items()
            )

    def _measure(self) -> dict[str, float]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(os.sep)
        return {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / 1e6,
            "system_memory_usage_percentage": memory.used / memory.total * 100,
            "disk_usage_percentage": disk.percent,
            # Not among MLflow's: what the training itself takes, of the machine's cores together.
            "process_cpu_utilization_percentage": self._process.cpu_percent() / (psutil.cpu_count() or 1),
            "process_memory_usage_megabytes": self._process.memory_info().rss / 1e6,
        }
