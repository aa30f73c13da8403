"""What a function may use is what its container has."""

import os

import pytest

from common.container import cores, memory_mb

HERE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [
        ("max 100000", HERE),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", min(2, HERE)),
        ("garbage", HERE),
    ],
)
def test_the_container_s_limit_counts(tmp_path, limit, wanted):
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert cores(tmp_path) == wanted


@pytest.mark.parametrize(("quota", "wanted"), [("-1", HERE), ("50000", 1), ("900000000", HERE)])
def test_so_does_that_of_older_systems(tmp_path, quota, wanted):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path) == wanted


def test_without_a_limit_all_that_the_process_may_use_are_taken(tmp_path):
    assert cores(tmp_path) == HERE


@pytest.mark.parametrize(("limit", "wanted"), [("536870912", 536.870912), ("max", None), (str(2**63 - 4096), None)])
@pytest.mark.parametrize("path", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_container_s_memory_limit_counts(tmp_path, path, limit, wanted):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(f"{limit}\n")
    assert memory_mb(tmp_path) == wanted
