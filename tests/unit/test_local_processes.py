"""Local processes: watched, reported when they die, restarted, stopped with their children."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local.processes import Processes

ENVIRONMENT: dict[str, str] = {}


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path / "logs")
    yield found
    found.stop()


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the condition never became true"
        time.sleep(0.05)


def start(processes: Processes, code: str, folder: Path) -> None:
    processes.start("worker", [sys.executable, "-c", code], ENVIRONMENT, folder)


def test_a_dead_process_is_reported_with_the_end_of_its_log_and_restarted(processes: Processes, tmp_path: Path) -> None:
    mark = tmp_path / "second"
    code = (
        f"import pathlib, time; mark = pathlib.Path({str(mark)!r})\n"
        "if mark.exists(): time.sleep(60)\n"
        "mark.touch(); print('last words', flush=True); raise SystemExit(3)"
    )
    # Not capfd: what a thread writes while pytest reads and empties its file would be lost.
    with contextlib.redirect_stderr(io.StringIO()) as said:
        start(processes, code, tmp_path)
        until(lambda: "restarting worker" in said.getvalue())
    assert "worker ended with code 3" in said.getvalue()
    assert "last words" in said.getvalue()
    assert processes.broken is None


def test_a_process_that_keeps_dying_is_given_up(processes: Processes, tmp_path: Path) -> None:
    start(processes, "raise SystemExit(1)", tmp_path)
    until(lambda: processes.broken is not None)
    assert "worker died 5 times" in str(processes.broken)


def test_stop_ends_the_children_of_a_process_too(processes: Processes, tmp_path: Path) -> None:
    mark = tmp_path / "child"
    code = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(mark)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    start(processes, code, tmp_path)
    until(lambda: mark.exists() and bool(mark.read_text()))
    child = psutil.Process(int(mark.read_text()))
    processes.stop()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_process_is_stopped_before_its_children(processes: Processes, tmp_path: Path) -> None:
    ready, said = tmp_path / "ready", tmp_path / "said"
    child = f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    code = (
        "import pathlib, signal, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "def end(*_):\n"
        "    time.sleep(0.5)\n"
        f"    pathlib.Path({str(said)!r}).write_text(str(child.poll()))\n"
        "    raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "time.sleep(60)"
    )
    start(processes, code, tmp_path)
    until(ready.exists)
    processes.stop()
    assert said.read_text() == "None"  # its child was still running
