"""What this process may use: cores and memory of the machine, or less where a container is limited."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = CGROUP) -> int:
    """At least 1. A limit of half a core counts as one, of one and a half as two (cgroup v2, then v1)."""
    try:
        here = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        here = os.cpu_count() or 1
    limit = _limit(cgroup)
    return here if limit is None else max(1, min(here, -(-limit[0] // limit[1])))


def memory_mb(cgroup: Path = CGROUP) -> float | None:
    """The container's limit (cgroup v2, then v1), in 10^6 bytes; None without one below the machine's memory."""
    for path in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((cgroup / path).read_text())
        except (OSError, ValueError):  # `max`
            continue
        if limit < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            return limit / 1e6
    return None


def _limit(cgroup: Path) -> tuple[int, int] | None:
    """Microseconds of processor time in each period of so many; None without a limit."""
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
