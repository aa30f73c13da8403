"""Cores and memory are those of the container, not of the machine."""

import os

import pytest

from common.container import cores, memory_mb

AVAILABLE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", AVAILABLE),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", min(2, AVAILABLE)),
        ("garbage", AVAILABLE),
    ],
)
def test_the_cpu_limit_of_cgroup_v2_counts(tmp_path, limit, expected):
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert cores(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", AVAILABLE), ("50000", 1), ("900000000", AVAILABLE)])
def test_the_cpu_limit_of_cgroup_v1_counts(tmp_path, quota, expected):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path) == expected


def test_without_a_limit_all_cores_of_the_process_count(tmp_path):
    assert cores(tmp_path) == AVAILABLE


@pytest.mark.parametrize(("limit", "expected"), [("536870912", 536.870912), ("max", None), (str(2**63 - 4096), None)])
@pytest.mark.parametrize("path", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_memory_limit_of_the_container_counts(tmp_path, path, limit, expected):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(f"{limit}\n")
    assert memory_mb(tmp_path) == expected
