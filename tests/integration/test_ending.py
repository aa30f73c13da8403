"""A function that is told to end: whoever waits for an answer gets it, whole, and nothing is cut off."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from flask import Flask

from common.datasets import Dataset
from common.executions import history
from common.leases import held_by
from common.objects import FolderObjects
from conftest import TOKEN, Served, wait_until
from deployed import Function, environment_alone
from flowers import flower_rows
from servers import ROOT, missing
from stored import add_rows

pytestmark = pytest.mark.integration


def end(function: Function) -> None:
    assert function.process is not None
    os.kill(function.process.pid, signal.SIGTERM)


def code(function: Function, seconds: float = 20) -> int:
    assert function.process is not None
    return function.process.wait(seconds)


def refused(function: Function) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", int(function.url.rpartition(":")[2]))) != 0


def test_a_call_that_is_being_answered_ends_well(
    function: Callable[..., Function], serve: Callable[[Flask], Served]
) -> None:
    api, asked, go = Flask("api"), threading.Event(), threading.Event()

    @api.get("/data")
    def data() -> dict[str, object]:
        asked.set()
        go.wait(20)
        return {"group_number": 1, "batch_number": 1, "data": []}

    source = serve(api)
    one = function("fetch-batch", COVERTYPE_API_URL=source.url, SABUESO_SAMPLES_PER_BATCH="1")
    answers: list[requests.Response] = []
    call = threading.Thread(target=lambda: answers.append(requests.post(f"{one.url}/covertype", timeout=20)))
    call.start()
    assert asked.wait(20)
    end(one)
    until = time.monotonic() + 20
    while not refused(one):
        assert time.monotonic() < until, "it goes on taking new connections"
        time.sleep(0.05)
    go.set()
    call.join(20)
    assert [answer.status_code for answer in answers] == [200]
    assert code(one) == 0


@pytest.mark.parametrize("respawned", [False, True], ids=["worker", "respawned-worker"])
def test_a_training_is_left_as_interrupted_for_whoever_takes_it_up(
    function: Callable[..., Function], tmp_path: Path, respawned: bool
) -> None:
    """Its parent records it and gives the lease back before it ends; else the next one would wait for both."""
    store = FolderObjects(tmp_path / "store")
    dataset = Dataset(store, "flowers")
    dataset.set_source({"type": "table", "location": "rows.csv", "params": {}})
    add_rows(dataset, 1, flower_rows(100))
    one = function("train", SABUESO_PIPELINES=str(ROOT / "tests" / "pipelines"))
    assert one.process is not None
    if respawned:
        (worker,) = psutil.Process(one.process.pid).children()
        worker.kill()
        worker.wait(20)
        wait_until(lambda: not refused(one))
    assert requests.post(f"{one.url}/flowers", headers=TOKEN, timeout=20).status_code == 202

    def newest() -> dict[str, Any]:
        return history(store, "flowers", "train", most=1)[0].body

    wait_until(lambda: newest()["snapshot"] is not None)  # then it waits for an MLflow that is not there
    end(one)
    assert code(one) == 0
    assert newest()["state"] == "interrupted"
    assert held_by(store, "jobs/flowers/train.json") is None


def test_a_body_that_is_still_being_sent_is_waited_for(function: Callable[..., Function]) -> None:
    one = function("classify")
    wire = http.client.HTTPConnection("127.0.0.1", int(one.url.rpartition(":")[2]), timeout=20)
    wire.putrequest("POST", "/covertype")
    wire.putheader("Content-Type", "application/json")
    wire.putheader("Content-Length", "1000")
    wire.endheaders(b" " * 500)
    requests.get(f"{one.url}/healthz", timeout=20)  # the first half has been read by now
    end(one)
    time.sleep(0.5)
    wire.send(b" " * 500)
    answer = wire.getresponse()
    assert answer.status == 503  # it has no model; the point is that it says so
    assert b"urn:sabueso:problem:" in answer.read()
    wire.close()
    assert code(one) == 0


def test_it_does_not_wait_for_calls_that_nobody_can_answer_any_more(
    function: Callable[..., Function], tmp_path: Path
) -> None:
    """Loopback is gone before the signal comes, as where faasd replaces a function; the call is cut in the middle."""
    program = [sys.executable, str(ROOT / "functions" / "server.py")]
    script = (
        "import os, signal, socket, subprocess, sys, time\n"
        "subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
        "child = subprocess.Popen(sys.argv[1:])\n"
        "def connect():\n"
        "    try: return socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 1)\n"
        "    except OSError: return None\n"
        "while not (wire := connect()): time.sleep(0.05)\n"
        "wire.sendall(b'POST /covertype HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\n1234')\n"
        "time.sleep(0.5)\n"
        "subprocess.run(['ip', 'link', 'set', 'lo', 'down'], check=True)\n"
        "began = time.monotonic()\n"
        "child.terminate()\n"
        "code = child.wait(60)\n"
        "print(code, time.monotonic() - began)\n"
    )
    environment = {**os.environ, **environment_alone("classify", tmp_path), "SABUESO_LINGER_S": "20"}
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive", "--preserve-env"]
    command = [*as_root, "unshare", "--net", sys.executable, "-c", script, *program]
    if shutil.which(command[0]) is None:
        missing("a network of its own needs root (unshare --net), and here is no sudo")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout.strip():
        missing(f"a network of its own needs root (unshare --net): {done.stderr[-300:]}")
    code_, seconds = done.stdout.split()[-2:]
    assert int(code_) != 0, done.stdout + done.stderr  # a watchdog in front ends then
    assert float(seconds) < 15


def test_it_goes_on_for_a_while_where_a_watchdog_goes_on_sending_calls(function: Callable[..., Function]) -> None:
    one = function("classify", SABUESO_LINGER_S="3")
    began = time.monotonic()
    end(one)
    end(one)  # some platforms tell every process of a container, and the watchdog tells it again
    answered = 0
    while time.monotonic() < began + 2:
        assert requests.get(f"{one.url}/healthz", timeout=20).status_code == 200
        answered += 1
        time.sleep(0.05)
    assert answered
    assert code(one) == 0
    assert time.monotonic() - began >= 3


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.6, 1.0])
def test_one_that_is_told_while_it_starts_ends_and_leaves_no_worker(
    function: Callable[..., Function], after_s: float
) -> None:
    one = function("classify", ready=False, SABUESO_WORKERS="2")
    assert one.process is not None
    time.sleep(after_s)
    workers = psutil.Process(one.process.pid).children()
    end(one)
    code(one, 10)
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert refused(one)


MISSES_THE_FIRST = """
import multiprocessing, os, signal, socket, threading
from types import SimpleNamespace
from server import Ending
heard, second = [], threading.Event()
def hear(*_):
    heard.append(1)
    if len(heard) == 2: second.set()
def work():
    signal.signal(signal.SIGTERM, hear)
    ready.set()
    second.wait()
ready = multiprocessing.Event()
listener = socket.create_server(("127.0.0.1", 0))
worker = multiprocessing.Process(target=work)
worker.start()
ready.wait()
end = Ending(listener.getsockname(), 0.0, 0.0)
end.listen(SimpleNamespace(signal_handler_interrupt=worker.terminate))
os.kill(os.getpid(), signal.SIGTERM)
worker.join(15)
print(worker.exitcode, flush=True)
os._exit(0)
"""


def test_a_worker_that_missed_the_signal_to_end_gets_it_again() -> None:
    command = [sys.executable, "-c", MISSES_THE_FIRST]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "functions")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "0\n", done.stderr
