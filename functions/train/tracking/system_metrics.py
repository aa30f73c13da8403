"""CPU, memory and disk use during a training, under the names that MLflow's page for system metrics expects.

MLflow's own monitor stops for good at the first failed call; a training continues while MLflow is down.
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

INTERVAL_S = 5.0


class SystemMetrics:
    """A context manager that samples in a thread of its own. The caller sends the samples that `take` returns.

    Steps count from `began_s` (seconds since 1970), so that a resumed training continues the count.
    """

    def __init__(self, began_s: float, interval_s: float = INTERVAL_S) -> None:
        self.began_s, self.interval_s = began_s, interval_s
        self._samples: deque[Metric] = deque()
        self._process = psutil.Process()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="system-metrics", daemon=True)

    def __enter__(self) -> Self:
        psutil.cpu_percent()  # measures since the previous call, so the first result is meaningless
        self._process.cpu_percent()
        self._thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def take(self) -> list[Metric]:
        """The samples since the last call."""
        return [self._samples.popleft() for _ in range(len(self._samples))]

    def _sample(self) -> None:
        is_last = False
        while not is_last:
            # A sample follows even if the wait was cut short, so that a short training has one too.
            is_last = self._stopped.wait(self.interval_s)
            now = time.time()
            step = max(0, round((now - self.began_s) / self.interval_s))
            try:
                measured = self._measure()
            except (OSError, psutil.Error):  # the machine does not allow this measurement
                continue
            self._samples.extend(
                Metric(f"system/{name}", round(value, 1), int(now * 1000), step) for name, value in measured.items()
            )

    def _measure(self) -> dict[str, float]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(os.sep)
        return {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / 1e6,
            "system_memory_usage_percentage": memory.used / memory.total * 100,
            "disk_usage_percentage": disk.percent,
            # Not among MLflow's own metrics: the share of all cores, and the memory, that this process uses.
            "process_cpu_utilization_percentage": self._process.cpu_percent() / (psutil.cpu_count() or 1),
            "process_memory_usage_megabytes": self._process.memory_info().rss / 1e6,
        }
