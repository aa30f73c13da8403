"""classify answers a hundred thousand calls, right every time, and takes no more memory at the end than at first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from conftest import wait_until
from swapping import loaded

FIRST, CALLS = 5_000, 100_000


def memory_mb(pid: int) -> float:
    """Of a process and its children, pages that they share counted once."""
    first = psutil.Process(pid)
    return sum(one.memory_full_info().pss for one in (first, *first.children(recursive=True))) / 1e6


@pytest.mark.timeout(7200)
def test_a_hundred_thousand_calls_are_answered_and_take_no_more_memory(
    mlflow: Any, serve: Callable[..., Any], bundles: Path, secrets: Path, tmp_path: Path
) -> None:
    with loaded(mlflow, serve, bundles, secrets, tmp_path) as found:
        assert found.function.process is not None
        pid, counts = found.function.process.pid, found.clients.counts
        wait_until(lambda: counts.total() >= FIRST, 3600)
        before = memory_mb(pid)
        wait_until(lambda: counts.total() >= CALLS, 3600)
        after = memory_mb(pid)
    assert after < 1.1 * before + 5, f"{before:.0f} MB after {FIRST} calls, {after:.0f} MB after {CALLS}"
