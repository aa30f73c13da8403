"""The cores and memory that this process may use: the machine's, or less if the container is limited."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = CGROUP) -> int:
    """The number of cores, at least 1; fractions are rounded up (cgroup v2, then v1)."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        available = os.cpu_count() or 1
    limit = _cpu_limit(cgroup)
    return available if limit is None else max(1, min(available, -(-limit[0] // limit[1])))


def memory_mb(cgroup: Path = CGROUP) -> float | None:
    """The container's limit in 10^6 bytes (cgroup v2, then v1); None if it is not below the machine's memory."""
    for path in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((cgroup / path).read_text())
        except (OSError, ValueError):  # `max`
            continue
        if limit < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            return limit / 1e6
    return None


def _cpu_limit(cgroup: Path) -> tuple[int, int] | None:
    """Quota and period in microseconds: CPU time per period. None without a limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    if not quota.strip().isdigit() or int(quota) < 1 or int(period) < 1:  # `max`, -1
        return None
    return int(quota), int(period)
