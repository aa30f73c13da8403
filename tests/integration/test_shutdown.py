"""Shutdown of a function: running calls get their whole answer, and trainings can be resumed."""

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

import psutil
import pytest
import requests
from flask import Flask

from common.storage import keys
from common.storage.dataset import Dataset, SourceDocument
from common.storage.executions import newest
from common.storage.folder import FolderStore
from common.storage.leases import holder_nonce
from common.storage.training_record import TrainingRecord
from conftest import TOKEN, Served, wait_until
from deployed import Function, environment_alone
from flowers import flower_rows
from servers import ROOT, missing
from stored import add_rows

pytestmark = pytest.mark.integration


def terminate(function: Function) -> None:
    assert function.process is not None
    os.kill(function.process.pid, signal.SIGTERM)


def exit_code(function: Function, seconds: float = 20) -> int:
    assert function.process is not None
    return function.process.wait(seconds)


def refuses(function: Function) -> bool:
    """Whether the function takes no new connection."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", int(function.url.rpartition(":")[2]))) != 0


def test_a_running_call_is_answered(function: Callable[..., Function], serve: Callable[[Flask], Served]) -> None:
    api, requested, resume = Flask("api"), threading.Event(), threading.Event()

    @api.get("/data")
    def data() -> dict[str, object]:
        requested.set()
        resume.wait(20)
        return {"group_number": 1, "batch_number": 1, "data": []}

    source = serve(api)
    replica = function("fetch-batch", COVERTYPE_API_URL=source.url, SABUESO_SAMPLES_PER_BATCH="1")
    answers: list[requests.Response] = []
    call = threading.Thread(target=lambda: answers.append(requests.post(f"{replica.url}/covertype", timeout=20)))
    call.start()
    assert requested.wait(20)
    terminate(replica)
    until = time.monotonic() + 20
    while not refuses(replica):
        assert time.monotonic() < until, "it still accepts connections"
        time.sleep(0.05)
    resume.set()
    call.join(20)
    assert [answer.status_code for answer in answers] == [200]
    assert exit_code(replica) == 0


@pytest.mark.parametrize("respawned", [False, True], ids=["worker", "respawned-worker"])
def test_a_training_is_recorded_as_interrupted_and_its_lease_released(
    function: Callable[..., Function], tmp_path: Path, respawned: bool
) -> None:
    """Otherwise the next training would wait for the lease to expire."""
    store = FolderStore(tmp_path / "store")
    dataset = Dataset(store, "flowers")
    dataset.set_source(SourceDocument(type="table", location="rows.csv"))
    add_rows(dataset, 1, flower_rows(100))
    replica = function("train", SABUESO_PIPELINES=str(ROOT / "tests" / "pipelines"))
    assert replica.process is not None
    if respawned:
        (worker,) = psutil.Process(replica.process.pid).children()
        worker.kill()
        worker.wait(20)
        wait_until(lambda: not refuses(replica))
    assert requests.post(f"{replica.url}/flowers", headers=TOKEN, timeout=20).status_code == 202

    def record() -> TrainingRecord:
        execution = newest(store, "flowers", TrainingRecord)
        assert execution is not None
        return execution.record

    wait_until(lambda: record().snapshot is not None)  # then it waits for MLflow, which is down
    terminate(replica)
    assert exit_code(replica) == 0
    assert record().state == "interrupted"
    assert holder_nonce(store, keys.lease("flowers", "train")) is None


def test_a_body_that_is_still_arriving_is_read_to_its_end(function: Callable[..., Function]) -> None:
    replica = function("classify")
    connection = http.client.HTTPConnection("127.0.0.1", int(replica.url.rpartition(":")[2]), timeout=20)
    connection.putrequest("POST", "/covertype")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b" " * 500)
    requests.get(f"{replica.url}/healthz", timeout=20)  # the first half has been read by now
    terminate(replica)
    time.sleep(0.5)
    connection.send(b" " * 500)
    answer = connection.getresponse()
    assert answer.status == 503  # no model; what matters is a whole answer
    assert b"urn:sabueso:problem:" in answer.read()
    connection.close()
    assert exit_code(replica) == 0


def test_without_a_network_it_does_not_wait_for_running_calls(
    function: Callable[..., Function], tmp_path: Path
) -> None:
    """Like faasd when it replaces a function: loopback disappears before the signal, in the middle of a call."""
    program = [sys.executable, str(ROOT / "functions" / "server.py")]
    script = (
        "import os, signal, socket, subprocess, sys, time\n"
        "subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
        "child = subprocess.Popen(sys.argv[1:])\n"
        "def connect():\n"
        "    try: return socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 1)\n"
        "    except OSError: return None\n"
        "while not (connection := connect()): time.sleep(0.05)\n"
        "connection.sendall(b'POST /covertype HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\n1234')\n"
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
        missing("a network namespace needs root (unshare --net), and there is no sudo")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout.strip():
        missing(f"a network namespace needs root (unshare --net): {done.stderr[-300:]}")
    code, seconds = done.stdout.split()[-2:]
    assert int(code) != 0, done.stdout + done.stderr  # so that the watchdog stops too
    assert float(seconds) < 15


def test_it_keeps_answering_for_linger_s(function: Callable[..., Function]) -> None:
    replica = function("classify", SABUESO_LINGER_S="3")
    began = time.monotonic()
    terminate(replica)
    terminate(replica)  # some platforms signal every process of a container, and the watchdog forwards the signal
    answered = 0
    while time.monotonic() < began + 2:
        assert requests.get(f"{replica.url}/healthz", timeout=20).status_code == 200
        answered += 1
        time.sleep(0.05)
    assert answered
    assert exit_code(replica) == 0
    assert time.monotonic() - began >= 3


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.6, 1.0])
def test_a_signal_during_start_leaves_no_worker(function: Callable[..., Function], after_s: float) -> None:
    replica = function("classify", ready=False, SABUESO_WORKERS="2")
    assert replica.process is not None
    time.sleep(after_s)
    workers = psutil.Process(replica.process.pid).children()
    terminate(replica)
    exit_code(replica, 10)
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert refuses(replica)


MISSES_THE_FIRST_SIGNAL = """
import multiprocessing, os, signal, socket, threading
from types import SimpleNamespace
from server import Shutdown
signals, second = [], threading.Event()
def handle(*_):
    signals.append(1)
    if len(signals) == 2: second.set()
def work():
    signal.signal(signal.SIGTERM, handle)
    ready.set()
    second.wait()
ready = multiprocessing.Event()
listener = socket.create_server(("127.0.0.1", 0))
worker = multiprocessing.Process(target=work)
worker.start()
ready.wait()
shutdown = Shutdown(listener.getsockname(), 0.0, 0.0)
shutdown.listen(SimpleNamespace(signal_handler_interrupt=worker.terminate))
os.kill(os.getpid(), signal.SIGTERM)
worker.join(15)
print(worker.exitcode, flush=True)
os._exit(0)
"""


def test_a_worker_that_missed_the_signal_gets_it_again() -> None:
    command = [sys.executable, "-c", MISSES_THE_FIRST_SIGNAL]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "functions")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "0\n", done.stderr
