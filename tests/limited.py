"""A function within the memory that stack.yml gives it: in a cgroup, or where none can be made, by watching its PSS."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import yaml

from classify.settings import WORKER_MB
from conftest import Served
from deployed import Function, environment_alone
from fake_mlflow import FakeMlflow
from servers import ROOT

CGROUPS = Path("/sys/fs/cgroup")
WATCH_S = 0.01
UNITS = {"Mi": 2**20, "Gi": 2**30}
# of-watchdog runs in the same container.
WATCHDOG = 20_000_000


def limit_of(function: str) -> int:
    """Bytes that stack.yml allows the function, without the watchdog's."""
    text = yaml.safe_load((ROOT / "stack.yml").read_text())["functions"][function]["limits"]["memory"]
    return int(text[:-2]) * UNITS[text[-2:]] - WATCHDOG


def own_cgroup() -> Path | None:
    """A new memory cgroup (v1 or v2) below that of this process, or None."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        root = CGROUPS / "memory" if "memory" in controllers.split(",") else CGROUPS
        if controllers and "memory" not in controllers.split(","):
            continue
        folder = root / path.lstrip("/") / f"sabueso-{os.getpid()}-{time.monotonic_ns()}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            if (folder / "memory.limit_in_bytes").exists() or (folder / "memory.max").exists():
                return folder
            folder.rmdir()
    return None


class Limited:
    """Runs a function with a limit of memory. `peak_mb` and `was_killed` say what happened."""

    def __init__(self, function: Function, limit: int) -> None:
        self.function, self.limit = function, limit
        self.cgroup = own_cgroup()
        self._highest, self._stopped = 0, threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        if self.cgroup is None:
            self._watch.start()
        else:
            for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max"):
                if (self.cgroup / name).exists():
                    (self.cgroup / name).write_text(str(self.limit))
            if (self.cgroup / "memory.swap.max").exists():
                (self.cgroup / "memory.swap.max").write_text("0")
            self.function.options["preexec_fn"] = self._join
        self.function.start()
        return self

    def _join(self) -> None:
        assert self.cgroup is not None
        (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.function.stop()
        if self.cgroup is not None:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    self.cgroup.rmdir()
                    break
                time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """The main process and its workers."""
        assert self.function.process is not None
        main = psutil.Process(self.function.process.pid)
        return [main, *main.children(recursive=True)]

    def cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def pss_mb(self) -> float:
        return sum(process.memory_full_info().pss for process in self.processes()) / 1e6

    def _sample(self) -> None:
        while not self._stopped.wait(WATCH_S):
            with contextlib.suppress(psutil.Error):
                self._highest = max(self._highest, int(self.pss_mb() * 1e6))

    def peak_mb(self) -> float:
        """The most memory that was ever taken, file cache included: up to the limit, it is no fault."""
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            if self.cgroup is not None and (self.cgroup / name).exists():
                return int((self.cgroup / name).read_text()) / 1e6
        return self._highest / 1e6

    def was_killed(self) -> bool:
        """Whether the kernel killed a process for memory, or would have."""
        if self.cgroup is None:
            return self._highest > self.limit
        for name in ("memory.oom_control", "memory.events"):
            if (self.cgroup / name).exists():
                counts = dict(line.split() for line in (self.cgroup / name).read_text().splitlines())
                return int(counts["oom_kill"]) > 0
        return False


@contextlib.contextmanager
def limited_classify(home: Path, bundles: Path) -> Iterator[Limited]:
    """Classify with these bundles as its container runs it: two workers, the memory of stack.yml."""
    (home / "secrets").mkdir()
    (home / "secrets" / "bundle-key").write_text("the key of a test")
    mlflow = FakeMlflow(home / "mlflow")
    for name in ("pets", "covertype"):
        mlflow.register(name, "1", bundles / name)
    served = Served(mlflow.app)
    environment = {
        **environment_alone("classify", home),
        "MLFLOW_TRACKING_URI": served.url,
        "SABUESO_WORKERS": str(int(limit_of("classify") / 1e6 / WORKER_MB)),
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
    try:
        with limited(Function("classify", int(environment["PORT"]), environment, home)) as found:
            yield found
            print(f"peak {found.peak_mb():.0f} of {found.limit / 1e6:.0f} MB")
    finally:
        served.stop()


@contextlib.contextmanager
def limited(function: Function) -> Iterator[Limited]:
    with Limited(function, limit_of(function.name)) as found:
        yield found
