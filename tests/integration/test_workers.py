"""Several workers of classify: a dead one is restarted, metrics are shared, and all stop together."""

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
from integration.test_shutdown import exit_code, refuses, terminate
from serving import ROW

pytestmark = pytest.mark.integration
WAIT_S = 20


@pytest.fixture
def two(function: Callable[..., Function]) -> Function:
    """classify with two workers."""
    classify = function("classify", SABUESO_WORKERS="2")
    wait_until(lambda: len(workers(classify)) == 2)
    return classify


def main_process(function: Function) -> psutil.Process:
    assert function.process is not None
    return psutil.Process(function.process.pid)


def workers(function: Function) -> list[psutil.Process]:
    return [process for process in main_process(function).children() if listens(process)]


def listens(process: psutil.Process) -> bool:
    return any(connection.status == psutil.CONN_LISTEN for connection in process.net_connections())


def have_ended(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=WAIT_S)[1]


def answer_of(others: list[psutil.Process], call: Callable[[], requests.Response]) -> Any:
    """The answer of the only running worker: the others are suspended, and calls that reached them are repeated."""
    for other in others:
        other.suspend()
    try:
        answers: list[requests.Response] = []

        def answered() -> bool:
            try:
                answers.append(call())
            except requests.Timeout:  # it reached a suspended worker
                return False
            return True

        wait_until(answered)
        return answers[0]
    finally:
        for other in others:
            other.resume()


def test_a_dead_worker_is_restarted_while_the_other_answers(two: Function) -> None:
    victim, other = workers(two)
    victim.kill()
    victim.wait(WAIT_S)
    for _ in range(20):
        assert requests.get(f"{two.url}/healthz", timeout=WAIT_S).ok
    wait_until(lambda: len(workers(two)) == 2)
    assert other in workers(two)
    assert "Unexpected exit from worker" in two.log.read_text()


def test_every_worker_reports_the_metrics_of_all(two: Function) -> None:
    for suspended in workers(two):
        answer = answer_of([suspended], lambda: requests.post(f"{two.url}/covertype", json={}, timeout=1))
        assert answer.status_code == 503
    # At least: a suspended worker later answers what reached it.
    counted = 'sabueso_http_requests_total{function="classify",method="POST",route="/<name>",status="503"}'
    counts = []
    for suspended in workers(two):
        text = answer_of([suspended], lambda: requests.get(f"{two.url}/metrics", timeout=1)).text
        match = re.search(re.escape(counted) + r" (\S+)", text)
        assert match, text
        counts.append(float(match[1]))
    assert min(counts) >= 2


def test_a_restart_resets_the_metrics(function: Callable[..., Function], tmp_path: Path) -> None:
    def metrics() -> str:
        return requests.get(f"{classify.url}/metrics", timeout=WAIT_S).text

    for _ in range(2):
        classify = function("classify", SABUESO_WORKERS="1")
        assert 'method="POST"' not in metrics()
        assert requests.post(f"{classify.url}/covertype", json={}, timeout=WAIT_S).status_code == 503
        assert 'method="POST"' in metrics()
        classify.stop()


def test_no_worker_answers_no_model_while_another_has_it(
    mlflow: Any, serve: Callable[[Flask], Served], function: Callable[..., Function], tmp_path: Path
) -> None:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[1] / "pipelines" / "flowers.toml", folder)
    answer, calls = mlflow.app.wsgi_app, count()

    def slow_at_first(environ: Any, start_response: Any) -> Any:
        time.sleep(2 if next(calls) == 1 else 0)  # one of the two workers gets its champion later
        return answer(environ, start_response)

    mlflow.app.wsgi_app = slow_at_first
    url = serve(mlflow.app).url
    two = function("classify", SABUESO_WORKERS="2", SABUESO_PIPELINES=str(folder), MLFLOW_TRACKING_URI=url)
    statuses = set()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        statuses.add(requests.post(f"{two.url}/flowers", json=ROW, timeout=WAIT_S).status_code)
    assert statuses == {200}


def test_every_worker_serves_the_champion_from_one_folder(
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
    for suspended in workers(two):
        wait_until(
            lambda suspended=suspended: answer_of([suspended], lambda: requests.get(f"{two.url}/readyz", timeout=1)).ok
        )
        answer = answer_of([suspended], lambda: requests.post(f"{two.url}/flowers", json=ROW, timeout=1))
        assert (answer.status_code, answer.json()["model"]["version"]) == (200, "1")
    assert sorted(path.name for path in (tmp_path / "scratch").iterdir()) == ["bundles", "downloads", "metrics"]
    kept = [path.relative_to(tmp_path / "scratch") for path in (tmp_path / "scratch").glob("*/*/*")]
    assert sorted(map(str, kept)) == ["bundles/flowers/1", "bundles/flowers/kept-version"]


def test_a_restart_empties_only_the_downloads_of_classify(function: Callable[..., Function], tmp_path: Path) -> None:
    download = tmp_path / "scratch" / "downloads" / "one" / "file"
    download.parent.mkdir(parents=True)
    download.write_text("from an earlier process")
    function("fetch-batch").stop()
    assert download.exists()  # the cache of its sources
    function("classify", SABUESO_WORKERS="1").stop()
    assert not download.parent.exists()  # a bundle that never arrived


def test_all_workers_stop_on_sigterm(two: Function) -> None:
    processes = [main_process(two), *workers(two)]
    terminate(two)
    assert exit_code(two) == 0
    assert have_ended(processes)
    assert refuses(two)


def test_no_worker_survives_a_killed_main_process(two: Function) -> None:
    processes = [main_process(two), *workers(two)]
    os.kill(processes[0].pid, signal.SIGKILL)
    assert exit_code(two) == -signal.SIGKILL
    assert have_ended(processes)
    wait_until(lambda: refuses(two))  # the port is free again


@pytest.mark.parametrize("address", ["taken", "no address"])
def test_an_address_where_no_server_can_listen_is_an_error(
    two: Function, function: Callable[..., Function], address: str
) -> None:
    wrong = {
        "taken": {"PORT": two.url.rpartition(":")[2]},
        "no address": {"HOST": "no.such.host.invalid"},
    }[address]
    before = two.log.read_text()
    other = function("classify", ready=False, **{"SABUESO_SCRATCH": f"{two.home}/other", **wrong})
    assert exit_code(other) == 1
    assert "HOST, PORT: no server can listen at" in other.log.read_text().removeprefix(before)
    assert "Traceback" not in other.log.read_text()
