"""What reaches a function's own port: slow and short bodies, callers who leave, many large bodies, slow readers."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
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
    """replica(NAME="value"): one that serves flowers and pets."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "flowers.toml").write_bytes((ROOT / "tests" / "pipelines" / "flowers.toml").read_bytes())
    (folder / "pets.toml").write_bytes((ROOT / "functions" / "pipelines" / "pets.toml").read_bytes())

    def start(**environment: str) -> Function:
        given = {"SABUESO_PIPELINES": str(folder), "MLFLOW_TRACKING_URI": serve(mlflow.app).url, **environment}
        one = function("classify", **given)
        wait_until(lambda: all(requests.get(f"{one.url}/readyz", timeout=WAIT_S).ok for _ in range(10)))
        return one

    return start


@pytest.fixture
def one(replica: Callable[..., Function]) -> Function:
    """A replica of one worker."""
    return replica(SABUESO_WORKERS="1")


def send(function: Function, path: str, length: int, content_type: str = "application/json") -> socket.socket:
    """A connection over which a call's head was sent."""
    wire = socket.create_connection(("127.0.0.1", int(function.url.rpartition(":")[2])), timeout=WAIT_S)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    wire.sendall(head.encode())
    return wire


def received(wire: socket.socket) -> tuple[int, str]:
    """Status and body of the answer."""
    answer = http.client.HTTPResponse(wire)
    answer.begin()
    return answer.status, answer.read().decode()


def answered(function: Function, path: str) -> int:
    """Calls of a pipeline that were answered with 200 so far, as the metrics tell."""
    text = requests.get(f"{function.url}/metrics", timeout=WAIT_S).text
    found = re.search(rf'requests_total{{function="classify",method="POST",route="{path}",status="200"}} (\S+)', text)
    return int(float(found[1])) if found else 0


def predict(function: Function) -> requests.Response:
    return requests.post(f"{function.url}/flowers", json=ROW, timeout=WAIT_S)


def healthy(function: Function) -> bool:
    return all(requests.get(f"{function.url}/{path}", timeout=WAIT_S).ok for path in ("healthz", "readyz"))


def test_bodies_at_a_byte_a_second_keep_nobody_from_an_answer_and_are_refused(one: Function) -> None:
    slow = [send(one, "/flowers", length) for length in 4 * (1_000, 20_000_000)]
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(1):
            for wire in slow:
                try:
                    wire.sendall(b" ")
                except OSError:  # it was refused by now
                    continue

    trickling = threading.Thread(target=trickle)
    trickling.start()
    try:
        assert all(predict(one).status_code == 200 for _ in range(30))
        assert healthy(one)
        for wire in slow:
            status, body = received(wire)
            assert (status, json.loads(body)["type"]) == (400, "urn:sabueso:problem:malformed")
            assert "the body did not come within 10 s" in body
    finally:
        over.set()
        trickling.join()
    for wire in slow:
        wire.close()
    assert predict(one).status_code == 200


@pytest.mark.parametrize(("path", "content_type"), [("/flowers", "application/json"), ("/pets", "image/png")])
def test_a_body_that_ends_too_early_is_refused_and_computes_nothing(
    one: Function, path: str, content_type: str
) -> None:
    whole = ROWS if path == "/flowers" else encode(draw("cat", 1))
    before = answered(one, "/<name>")
    wire = send(one, path, len(whole) + 1, content_type)
    wire.sendall(whole)
    wire.shutdown(socket.SHUT_WR)
    status, body = received(wire)
    assert status == 400
    assert f"the body ended after {len(whole)} of {len(whole) + 1} bytes" in body
    assert answered(one, "/<name>") == before
    wire.close()


def test_a_body_in_chunks_is_answered_as_one_with_its_length(one: Function) -> None:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{one.url}/flowers", iter([ROWS[:20], ROWS[20:]]), headers=headers, timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == predict(one).json()["predictions"]


def test_callers_who_leave_cost_no_more_than_what_was_let_in(one: Function) -> None:
    """200 at once: 16 are let in, of which two compute and the others wait for them."""
    picture = encode(Image.new("RGB", (4000, 3000), "orange"))
    before = answered(one, "/<name>")
    wires = []
    for _ in range(200):
        wires.append(send(one, "/pets", len(picture), "image/png"))
        wires[-1].sendall(picture)
    assert healthy(one)
    time.sleep(1)
    for wire in wires:
        wire.close()
    left = answered(one, "/<name>")
    assert healthy(one)
    wait_until(lambda: predict(one).status_code == 200, WAIT_S)
    wait_until(lambda: settled(one))
    assert answered(one, "/<name>") - left <= 1 + 16
    assert answered(one, "/<name>") - before < 100  # not all were computed: else this tests nothing


def settled(function: Function) -> bool:
    """True if no call ended for a while."""
    before = answered(function, "/<name>")
    time.sleep(1)
    return answered(function, "/<name>") == before


@pytest.mark.parametrize("kinds", [(0, 1, 2), (1,)], ids=["rows and pictures", "pictures"])
def test_32_clients_with_20_mb_bodies_stay_under_the_memory_limit(
    replica: Callable[..., Function], kinds: tuple[int, ...]
) -> None:
    """Of pictures alone more are in memory at once, and in more threads, whose memory glibc would keep."""
    stack = yaml.safe_load((ROOT / "stack.yml").read_text())
    limit = int(stack["functions"]["classify"]["limits"]["memory"].removesuffix("Mi"))
    function = replica(SABUESO_WORKERS="2")
    bodies = [
        (b"petal,turn,colour,place\n" + b"11.5,90,red,sun\n" * 1_200_000)[:19_999_992] + b"\n",
        encode(Image.fromarray(np.random.default_rng(1).integers(0, 255, (2580, 2580, 3), np.uint8))),
        json.dumps([ROW] * 310_000).encode(),
    ]
    forms = [("flowers", "text/csv"), ("pets", "image/png"), ("flowers", "application/json")]
    assert all(19_000_000 < len(body) < 20_000_000 for body in bodies), [len(body) for body in bodies]
    assert function.process is not None
    family = psutil.Process(function.process.pid)
    most, over = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            used = sum(one.memory_full_info().pss for one in [family, *family.children()])
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
            found = list(clients.map(call, range(64)))
    finally:
        over.set()
        watching.join()
    assert set(found) <= {200, 503}
    assert found.count(200) >= 2, found
    assert most < limit, f"{most:.0f} of {limit} MiB"
    wait_until(lambda: predict(function).status_code == 200, WAIT_S)


def test_who_reads_a_long_answer_slowly_keeps_nobody_from_an_answer(one: Function) -> None:
    body = b"petal,turn,colour,place\n" + b"11.5,90,red,sun\n" * 100_000
    wires = []
    for _ in range(20):
        wires.append(send(one, "/flowers", len(body), "text/csv"))
        wires[-1].sendall(body)
    wait_until(lambda: predict(one).status_code == 200, WAIT_S)
    assert healthy(one)
    statuses = [int(wire.recv(12).split()[1]) for wire in wires]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) == 4
    for wire in wires:
        wire.close()
    headers = {"Content-Type": "text/csv", "Accept": "text/csv"}

    def whole() -> bool:
        answer = requests.post(f"{one.url}/flowers", body, headers=headers, timeout=WAIT_S)
        return answer.status_code == 200 and answer.text.count("\n") == 100_001

    wait_until(whole, WAIT_S)
