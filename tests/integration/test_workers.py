"""Two workers of classify at one address: one that dies is started again, one count of all, and they end together."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from flask import Flask

from conftest import Served, wait_until
from deployed import Function
from integration.test_ending import code, end, refused
from serving import ROW

pytestmark = pytest.mark.integration
WAIT_S = 20


@pytest.fixture
def two(function: Callable[..., Function]) -> Function:
    one = function("classify", SABUESO_WORKERS="2")
    wait_until(lambda: len(workers(one)) == 2 and all(map(listens, workers(one))))
    return one


def first_of(function: Function) -> psutil.Process:
    assert function.process is not None
    return psutil.Process(function.process.pid)


def workers(function: Function) -> list[psutil.Process]:
    return [one for one in first_of(function).children() if listens(one)]


def listens(process: psutil.Process) -> bool:
    return any(one.status == psutil.CONN_LISTEN for one in process.net_connections())


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=WAIT_S)[1]


def asked_of(worker: psutil.Process, others: list[psutil.Process], ask: Callable[[], requests.Response]) -> Any:
    """The answer of that one: the others are suspended, and what they were given first is asked again."""
    for one in others:
        one.suspend()
    try:
        found: list[requests.Response] = []

        def answered() -> bool:
            try:
                found.append(ask())
            except requests.Timeout:  # another's connection
                return False
            return True

        wait_until(answered)
        return found[0]
    finally:
        for one in others:
            one.resume()


def test_one_that_dies_is_started_again_while_the_others_answer(two: Function) -> None:
    victim, other = workers(two)
    victim.kill()
    victim.wait(WAIT_S)
    for _ in range(20):
        assert requests.get(f"{two.url}/healthz", timeout=WAIT_S).ok
    wait_until(lambda: len(workers(two)) == 2)
    assert other in workers(two)
    assert "Unexpected exit from worker" in two.log.read_text()


def test_one_count_of_all_whoever_is_asked(two: Function) -> None:
    one, other = workers(two)
    for worker, silent in ((one, other), (other, one)):
        answer = asked_of(worker, [silent], lambda: requests.post(f"{two.url}/covertype", json={}, timeout=1))
        assert answer.status_code == 503
    # A suspended worker answers late whatever it was given.
    counted = 'sabueso_http_requests_total{function="classify",method="POST",route="/<name>",status="503"}'
    told = []
    for worker, silent in ((one, other), (other, one)):
        text = asked_of(worker, [silent], lambda: requests.get(f"{two.url}/metrics", timeout=1)).text
        found = re.search(re.escape(counted) + r" (\S+)", text)
        assert found, text
        told.append(float(found[1]))
    assert min(told) >= 2


def test_nothing_that_was_counted_before_a_restart_is_counted_again(
    function: Callable[..., Function], tmp_path: Path
) -> None:
    def counted() -> str:
        return requests.get(f"{one.url}/metrics", timeout=WAIT_S).text

    for _ in range(2):
        one = function("classify", SABUESO_WORKERS="1")
        assert 'method="POST"' not in counted()
        assert requests.post(f"{one.url}/covertype", json={}, timeout=WAIT_S).status_code == 503
        assert 'method="POST"' in counted()
        one.stop()


def test_none_says_that_no_model_serves_while_another_has_it(
    mlflow: Any, serve: Callable[[Flask], Served], function: Callable[..., Function], tmp_path: Path
) -> None:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[1] / "pipelines" / "flowers.toml", folder)
    answer, first = mlflow.app.wsgi_app, count()

    def slow_at_first(environ: Any, start_response: Any) -> Any:
        time.sleep(2 if next(first) == 1 else 0)  # one of the two workers gets its champion later
        return answer(environ, start_response)

    mlflow.app.wsgi_app = slow_at_first
    url = serve(mlflow.app).url
    two = function("classify", SABUESO_WORKERS="2", SABUESO_PIPELINES=str(folder), MLFLOW_TRACKING_URI=url)
    statuses = set()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        statuses.add(requests.post(f"{two.url}/flowers", json=ROW, timeout=WAIT_S).status_code)
    assert statuses == {200}


def test_each_serves_the_champion_and_one_folder_holds_it(
    mlflow: Any, serve: Callable[[Flask], Served], function: Callable[..., Function], tmp_path: Path
) -> None:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[1] / "pipelines" / "flowers.toml", folder)
    two = function(
        "classify",
        SABUESO_WORKERS="2",
        SABUESO_PIPELINES=str(folder),
        SABUESO_REFRESH_S="0.2",
        MLFLOW_TRACKING_URI=serve(mlflow.app).url,
    )
    wait_until(lambda: len(workers(two)) == 2)
    one, other = workers(two)
    for worker, silent in ((one, other), (other, one)):
        wait_until(
            lambda worker=worker, silent=silent: (
                asked_of(worker, [silent], lambda: requests.get(f"{two.url}/readyz", timeout=1)).ok
            )
        )
        answer = asked_of(worker, [silent], lambda: requests.post(f"{two.url}/flowers", json=ROW, timeout=1))
        assert (answer.status_code, answer.json()["model"]["version"]) == (200, "1")
    assert sorted(path.name for path in (tmp_path / "scratch").iterdir()) == ["bundles", "downloads", "metrics"]
    kept = [path.relative_to(tmp_path / "scratch") for path in (tmp_path / "scratch").glob("*/*/*")]
    assert sorted(map(str, kept)) == ["bundles/flowers/1", "bundles/flowers/kept-version"]


def test_they_end_together_when_they_are_told_to(two: Function) -> None:
    processes = [first_of(two), *workers(two)]
    end(two)
    assert code(two) == 0
    assert gone(processes)
    assert refused(two)


def test_nothing_is_left_when_the_first_is_killed(two: Function) -> None:
    processes = [first_of(two), *workers(two)]
    os.kill(processes[0].pid, signal.SIGKILL)
    assert code(two) == -signal.SIGKILL
    assert gone(processes)
    wait_until(lambda: refused(two))  # so that the next one can listen there


@pytest.mark.parametrize("where", ["taken", "no port", "no address"])
def test_where_no_server_can_listen_is_told(two: Function, function: Callable[..., Function], where: str) -> None:
    given = {
        "taken": {"PORT": two.url.rpartition(":")[2]},
        "no port": {"PORT": "70000"},
        "no address": {"HOST": "no.such.host.invalid"},
    }[where]
    before = two.log.read_text()
    other = function("classify", ready=False, **{"SABUESO_SCRATCH": f"{two.home}/other", **given})
    assert code(other) == 1
    assert "HOST, PORT: no server can listen at" in other.log.read_text().removeprefix(before)
    assert "Traceback" not in other.log.read_text()
