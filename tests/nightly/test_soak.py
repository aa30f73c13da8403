"""classify answers a hundred thousand calls correctly, and its memory does not grow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from conftest import wait_until
from swapping import loaded

WARM_UP_CALLS, CALLS = 5_000, 100_000


def memory_mb(pid: int) -> float:
    """Memory of a process and its children; shared pages count once."""
    parent = psutil.Process(pid)
    return sum(process.memory_full_info().pss for process in (parent, *parent.children(recursive=True))) / 1e6


@pytest.mark.timeout(7200)
def test_memory_does_not_grow_over_a_hundred_thousand_calls(
    mlflow: Any, serve: Callable[..., Any], bundles: Path, secrets: Path, tmp_path: Path
) -> None:
    with loaded(mlflow, serve, bundles, secrets, tmp_path) as found:
        assert found.function.process is not None
        pid, counts = found.function.process.pid, found.clients.counts
        wait_until(lambda: counts.total() >= WARM_UP_CALLS, 3600)
        before = memory_mb(pid)
        wait_until(lambda: counts.total() >= CALLS, 3600)
        after = memory_mb(pid)
    assert after < 1.1 * before + 5, f"{before:.0f} MB after {WARM_UP_CALLS} calls, {after:.0f} MB after {CALLS}"
