"""Several processes of classify behind one socket: all answer, one count of all, and they end together."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from conftest import wait_until
from deployed import Function, environment_alone
from integration.test_ending import code, end, refused
from servers import ROOT
from serving import ROW

pytestmark = pytest.mark.integration
WAIT_S = 20


@pytest.fixture
def three(function: Callable[..., Function]) -> Function:
    return function("classify", SABUESO_PROCESSES="3")


def family(function: Function) -> list[psutil.Process]:
    """The first process and the others."""
    assert function.process is not None
    try:
        first = psutil.Process(function.process.pid)
        return [first, *first.children()]
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=WAIT_S)[1]


def test_the_others_answer_while_the_first_does_not(three: Function) -> None:
    first, *others = family(three)
    assert len(others) == 2
    first.suspend()
    try:
        assert all(requests.get(f"{three.url}/healthz", timeout=WAIT_S).ok for _ in range(20))
    finally:
        first.resume()


def test_one_count_of_all_whoever_is_asked(three: Function) -> None:
    first = family(three)[0]
    for turn in range(30):
        (first.suspend if turn < 10 else first.resume)()  # others must have answered those
        assert requests.post(f"{three.url}/covertype", json={}, timeout=WAIT_S).status_code == 503
    for _ in range(6):
        text = requests.get(f"{three.url}/metrics", timeout=WAIT_S).text
        found = re.search(r'sabueso_requests_total\{endpoint="classify",function="classify",status="503"\} (\S+)', text)
        assert found, text
        assert float(found[1]) == 30


def test_the_first_asks_mlflow_and_the_others_serve_what_it_found(
    mlflow, serve, function: Callable[..., Function], tmp_path: Path
) -> None:
    """Each champion is fetched once, into one folder."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[1] / "pipelines" / "flowers.toml", folder)
    three = function(
        "classify",
        SABUESO_PROCESSES="3",
        SABUESO_PIPELINES=str(folder),
        SABUESO_REFRESH_S="0.2",
        MLFLOW_TRACKING_URI=serve(mlflow.app).url,
    )
    wait_until(lambda: requests.get(f"{three.url}/readyz", timeout=WAIT_S).ok)
    first, *others = family(three)
    assert sorted(path.name for path in (tmp_path / "scratch").iterdir()) == ["bundles"]
    fetched = [path for path in mlflow.asked if path.endswith("network.tflite")]
    assert len(fetched) == 1, fetched
    for silent in ([first, others[0]], [first, others[1]], others):
        for one in silent:
            one.suspend()
        try:
            answer = requests.post(f"{three.url}/flowers", json=ROW, timeout=WAIT_S)
        finally:
            for one in silent:
                one.resume()
        assert (answer.status_code, answer.json()["model"]["version"]) == (200, "1")


def test_connections_may_wait_although_each_process_takes_one_at_a_time(three: Function) -> None:
    processes = family(three)
    for process in processes:
        process.suspend()
    try:
        port = int(three.url.rpartition(":")[2])
        waiting = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(100)]
    finally:
        for process in processes:
            process.resume()
    for one in waiting:
        one.close()


def test_they_end_together_when_they_are_told_to(three: Function) -> None:
    processes = family(three)
    end(three)
    assert code(three) == 0
    assert gone(processes)
    assert refused(three)


SLOWLY = """
import os, runpy, sys, time
fork = os.fork
def slowly():
    child = fork()
    if child:
        time.sleep(1)
    return child
os.fork, sys.path[0] = slowly, os.path.dirname(sys.argv[1])
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_they_end_together_although_the_first_was_still_making_the_others(secrets: Path, tmp_path: Path) -> None:
    environment = {**environment_alone("classify", tmp_path), "SABUESO_PROCESSES": "3"}
    one = Function("classify", int(environment["PORT"]), environment, tmp_path)
    one.command = [sys.executable, "-c", SLOWLY, str(ROOT / "functions" / "server.py")]
    one.start()  # the first of the others answers
    try:
        end(one)
        assert code(one) == 0
    finally:
        one.stop()


def test_when_one_of_the_others_dies_all_end_so_that_they_are_started_anew(three: Function) -> None:
    processes = family(three)
    processes[1].kill()
    assert code(three) == 1
    assert gone(processes)
    assert "a process ended" in three.log.read_text()


def test_nothing_is_left_when_the_first_is_killed(three: Function) -> None:
    processes = family(three)
    os.kill(processes[0].pid, signal.SIGKILL)
    assert code(three) == -signal.SIGKILL
    assert gone(processes)
    until = time.monotonic() + WAIT_S
    while not refused(three):  # so that the next one can listen there
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("where", ["taken", "no port", "no host"])
def test_where_no_server_can_listen_is_told(three: Function, function: Callable[..., Function], where: str) -> None:
    given = {
        "taken": {"PORT": three.url.rpartition(":")[2]},
        "no port": {"PORT": "70000"},
        "no host": {"HOST": "no.such.host.invalid"},
    }[where]
    other = function("classify", ready=False, **given)
    assert code(other) == 1
    assert "HOST, PORT: no server can listen there" in other.log.read_text()


def test_one_that_is_stuck_is_told_by_health_so_that_they_are_started_anew(three: Function) -> None:
    stuck = family(three)[1]
    stuck.suspend()
    try:
        wait_until(lambda: requests.get(f"{three.url}/healthz", timeout=WAIT_S).status_code == 503)
        assert "a process has done nothing" in requests.get(f"{three.url}/healthz", timeout=WAIT_S).text
    finally:
        stuck.resume()
    wait_until(lambda: requests.get(f"{three.url}/healthz", timeout=WAIT_S).ok)
