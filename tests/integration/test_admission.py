"""Load on a real classify process: overload, slow and short bodies, disconnects, many large bodies, slow readers."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
import yaml
from flask import Flask
from PIL import Image

from conftest import Served, wait_until
from deployed import Function
from flowers import draw, encode
from servers import ROOT
from serving import ROW

pytestmark = pytest.mark.integration
WAIT_S = 60
ROWS = json.dumps(ROW).encode()


@pytest.fixture
def replica(
    mlflow: Any, serve: Callable[[Flask], Served], function: Callable[..., Function], tmp_path: Path
) -> Callable[..., Function]:
    """replica(NAME="value"): a classify process that serves flowers and pets."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "flowers.toml").write_bytes((ROOT / "tests" / "pipelines" / "flowers.toml").read_bytes())
    (folder / "pets.toml").write_bytes((ROOT / "functions" / "pipelines" / "pets.toml").read_bytes())

    def start(**environment: str) -> Function:
        settings = {"SABUESO_PIPELINES": str(folder), "MLFLOW_TRACKING_URI": serve(mlflow.app).url, **environment}
        replica = function("classify", **settings)
        wait_until(lambda: all(requests.get(f"{replica.url}/readyz", timeout=WAIT_S).ok for _ in range(10)))
        return replica

    return start


@pytest.fixture
def single(replica: Callable[..., Function]) -> Function:
    """A replica with one worker."""
    return replica(SABUESO_WORKERS="1")


def send(function: Function, path: str, length: int, content_type: str = "application/json") -> socket.socket:
    """A connection on which the head of a POST was sent."""
    connection = socket.create_connection(("127.0.0.1", int(function.url.rpartition(":")[2])), timeout=WAIT_S)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def form_of(*pictures: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    return b"\r\n".join([*(head + picture for picture in pictures), b"--x--\r\n"])


def read_answer(connection: socket.socket) -> tuple[int, str]:
    """Status and body of the answer."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read().decode()


def ok_count(function: Function, path: str) -> int:
    """Calls of a route answered with 200 so far, from the metrics."""
    text = requests.get(f"{function.url}/metrics", timeout=WAIT_S).text
    match = re.search(rf'requests_total{{function="classify",method="POST",route="{path}",status="200"}} (\S+)', text)
    return int(float(match[1])) if match else 0


def predict(function: Function) -> requests.Response:
    return requests.post(f"{function.url}/flowers", json=ROW, timeout=WAIT_S)


def is_healthy(function: Function) -> bool:
    return all(requests.get(f"{function.url}/{path}", timeout=WAIT_S).ok for path in ("healthz", "readyz"))


def test_slow_bodies_block_no_other_call_and_are_refused(single: Function) -> None:
    slow = [send(single, "/flowers", length) for length in 4 * (1_000, 20_000_000)]
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(1):
            for connection in slow:
                try:
                    connection.sendall(b" ")
                except OSError:  # already refused
                    continue

    trickling = threading.Thread(target=trickle)
    trickling.start()
    try:
        assert all(predict(single).status_code == 200 for _ in range(30))
        assert is_healthy(single)
        for connection in slow:
            status, body = read_answer(connection)
            assert (status, json.loads(body)["type"]) == (400, "urn:sabueso:problem:malformed")
            assert "the body did not arrive within 10 s" in body
    finally:
        done.set()
        trickling.join()
    for connection in slow:
        connection.close()
    assert predict(single).status_code == 200


@pytest.mark.parametrize(("path", "content_type"), [("/flowers", "application/json"), ("/pets", "image/png")])
def test_a_truncated_body_is_refused_and_computes_nothing(single: Function, path: str, content_type: str) -> None:
    whole = ROWS if path == "/flowers" else encode(draw("cat", 1))
    before = ok_count(single, "/<name>")
    connection = send(single, path, len(whole) + 1, content_type)
    connection.sendall(whole)
    connection.shutdown(socket.SHUT_WR)
    status, body = read_answer(connection)
    assert status == 400
    assert f"the body ended after {len(whole)} of {len(whole) + 1} bytes" in body
    assert ok_count(single, "/<name>") == before
    connection.close()


def test_a_chunked_body_is_answered_like_one_with_a_length(single: Function) -> None:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{single.url}/flowers", iter([ROWS[:20], ROWS[20:]]), headers=headers, timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == predict(single).json()["predictions"]


def noise(side: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8))


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/flowers?explain=1", "application/json", json.dumps([ROW] * 1500).encode()),
        ("/pets", "multipart/form-data; boundary=x", form_of(*[encode(noise(60))] * 60)),
    ],
    ids=["rows", "pictures"],
)
def test_of_ten_times_the_calls_that_a_worker_takes_each_is_answered_or_refused(
    replica: Callable[..., Function], path: str, content_type: str, body: bytes
) -> None:
    """160 calls: 16 get a place, and keep it while their last byte is missing. Then they wait for the slots."""
    function = replica(SABUESO_WORKERS="1", SABUESO_QUEUE_S="0.001", SABUESO_MAX_EXPLAINED="2000")

    def alone() -> requests.Response:
        return requests.post(f"{function.url}{path}", body, headers={"Content-Type": content_type}, timeout=WAIT_S)

    expected = alone().json()["predictions"]
    calls = [send(function, path, len(body), content_type) for _ in range(160)]
    for connection in calls:
        connection.sendall(body[:-1])
    wait_until(lambda: len(select.select(calls, [], [], 1)[0]) == 144, WAIT_S)
    refused = select.select(calls, [], [])[0]
    admitted = [connection for connection in calls if connection not in refused]
    for connection in refused:
        assert "limit of concurrent calls" in refusal(*read_document(connection))
    for connection in admitted:
        connection.sendall(body[-1:])
    answers = [read_document(connection) for connection in admitted]
    statuses = Counter(answer.status for answer, _ in answers)
    assert set(statuses) == {200, 503}, statuses
    for answer, document in answers:
        if answer.status == 200:
            assert document["predictions"] == expected
        else:
            assert "no other call ended within 0.001 s" in refusal(answer, document)
    for _ in range(5):
        answer = alone()
        assert (answer.status_code, answer.json()["predictions"]) == (200, expected)


def read_document(connection: socket.socket) -> tuple[http.client.HTTPResponse, Any]:
    """The answer and its document."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    document = json.load(answer)
    connection.close()
    return answer, document


def refusal(answer: http.client.HTTPResponse, document: Any) -> str:
    """Why the call was refused."""
    assert (answer.status, document["type"]) == (503, "urn:sabueso:problem:busy")
    assert int(answer.headers["Retry-After"]) > 0
    return str(document["detail"])


def test_disconnected_clients_cost_only_the_admitted_calls(replica: Callable[..., Function]) -> None:
    """Of 200 concurrent calls 16 are admitted; one picture is computed at a time. Others wait for half a second."""
    single = replica(SABUESO_WORKERS="1", SABUESO_QUEUE_S="0.5")
    picture = encode(Image.new("RGB", (4000, 3000), "orange"))
    before = ok_count(single, "/<name>")
    connections = []
    for _ in range(200):
        connections.append(send(single, "/pets", len(picture), "image/png"))
        connections[-1].sendall(picture)
    assert is_healthy(single)
    time.sleep(1)
    for connection in connections:
        connection.close()
    disconnected = ok_count(single, "/<name>")
    assert is_healthy(single)
    wait_until(lambda: predict(single).status_code == 200, WAIT_S)
    wait_until(lambda: is_idle(single))
    assert ok_count(single, "/<name>") - disconnected <= 1 + 16
    assert ok_count(single, "/<name>") - before < 100  # else the test proves nothing: all were computed


def is_idle(function: Function) -> bool:
    """Whether no call ends within a second."""
    before = ok_count(function, "/<name>")
    time.sleep(1)
    return ok_count(function, "/<name>") == before


@pytest.mark.parametrize("kinds", [(0, 1, 2), (1,)], ids=["rows and pictures", "pictures"])
def test_32_clients_with_20_mb_bodies_stay_under_the_memory_limit(
    replica: Callable[..., Function], kinds: tuple[int, ...]
) -> None:
    """With pictures only, more bodies are in memory at once, and in more threads, whose memory glibc would keep."""
    stack = yaml.safe_load((ROOT / "stack.yml").read_text())
    limit = int(stack["functions"]["classify"]["limits"]["memory"].removesuffix("Mi"))
    function = replica(SABUESO_WORKERS="2")
    bodies = [
        b"petal,turn,colour,place\n" + (b"11.5,90,%s,sun\n" % (b"red" * 60)) * 100_000,
        encode(Image.fromarray(np.random.default_rng(1).integers(0, 255, (2580, 2580, 3), np.uint8))),
        json.dumps([{**ROW, "colour": "red" * 45}] * 100_000).encode(),
    ]
    forms = [("flowers", "text/csv"), ("pets", "image/png"), ("flowers", "application/json")]
    assert all(19_000_000 < len(body) < 20_000_000 for body in bodies), [len(body) for body in bodies]
    assert function.process is not None
    family = psutil.Process(function.process.pid)
    most, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            used = sum(process.memory_full_info().pss for process in [family, *family.children()])
            most = max(most, used / 2**20)

    def call(place: int) -> int:
        kind = kinds[place % len(kinds)]
        name, content_type = forms[kind]
        headers = {"Content-Type": content_type}
        answer = requests.post(f"{function.url}/{name}", bodies[kind], headers=headers, timeout=WAIT_S)
        return answer.status_code

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with ThreadPoolExecutor(32) as clients:
            statuses = list(clients.map(call, range(64)))
    finally:
        done.set()
        watching.join()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 2, statuses
    assert most < limit, f"{most:.0f} of {limit} MiB"
    wait_until(lambda: predict(function).status_code == 200, WAIT_S)


def test_slow_readers_of_long_answers_block_no_other_call(single: Function) -> None:
    body = b"petal,turn,colour,place\n" + b"11.5,90,red,sun\n" * 100_000
    connections = []
    for _ in range(20):
        connections.append(send(single, "/flowers", len(body), "text/csv"))
        connections[-1].sendall(body)
    wait_until(lambda: predict(single).status_code == 200, WAIT_S)
    assert is_healthy(single)
    statuses = [int(connection.recv(12).split()[1]) for connection in connections]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) == 4
    for connection in connections:
        connection.close()
    headers = {"Content-Type": "text/csv", "Accept": "text/csv"}

    def complete() -> bool:
        answer = requests.post(f"{single.url}/flowers", body, headers=headers, timeout=WAIT_S)
        return answer.status_code == 200 and answer.text.count("\n") == 100_001

    wait_until(complete, WAIT_S)
