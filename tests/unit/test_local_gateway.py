"""The local gateway keeps OpenFaaS's paths."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flask import Flask, jsonify, request

from local.gateway import create_gateway
from local.stack import Function

METHODS = ["GET", "POST", "OPTIONS"]
ECHO = Function("echo", "registry/echo:1", {}, (), {"topic": "cron-function", "schedule": "*/5 * * * *"}, {})


class Recorder:
    """A function that returns the request, and may be paused."""

    def __init__(self) -> None:
        self.app = Flask("echo")
        self.at_once = self.most_at_once = 0
        self.bodies: list[bytes] = []
        self.done = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self._lock = threading.Lock()
        self.app.add_url_rule("/", "root", self._answer, methods=METHODS, defaults={"path": ""})
        self.app.add_url_rule("/<path:path>", "any", self._answer, methods=METHODS)

    def _answer(self, path: str) -> Any:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.bodies.append(request.get_data())
        self.go_on.wait(60)
        with self._lock:
            self.at_once -= 1
        self.done.release()
        facts = {"path": path, "query": request.query_string.decode(), "call": request.headers.get("X-Call-Id")}
        return jsonify(**facts, method=request.method), 418 if path == "teapot" else 200


def gateway_for(serve: Callable[[Flask], Any], recorder: Recorder) -> Any:
    port = int(serve(recorder.app).url.rpartition(":")[2])
    return create_gateway({"echo": ECHO}, {"echo": port}).test_client()


def test_path_query_method_and_status_pass_through(serve: Callable[[Flask], Any]) -> None:
    client = gateway_for(serve, Recorder())
    answer = client.post("/function/echo/teapot?x=1", data=b"hello")
    assert answer.status_code == 418
    assert (answer.json["path"], answer.json["query"], answer.json["method"]) == ("teapot", "x=1", "POST")
    assert answer.json["call"]


def test_a_preflight_is_answered_by_the_function(serve: Callable[[Flask], Any]) -> None:
    answer = gateway_for(serve, Recorder()).options("/function/echo/pets")
    assert (answer.json["path"], answer.json["method"]) == ("pets", "OPTIONS")


def test_a_call_id_of_the_client_is_kept(serve: Callable[[Flask], Any]) -> None:
    client = gateway_for(serve, Recorder())
    assert client.get("/function/echo", headers={"X-Call-Id": "mine"}).json["call"] == "mine"


def test_an_unknown_function_is_404_and_one_that_is_down_502() -> None:
    client = create_gateway({"echo": ECHO}, {"echo": 1}).test_client()
    assert client.get("/function/nobody").status_code == 404
    assert client.post("/async-function/nobody").status_code == 202  # as in OpenFaaS: it is noticed only in the queue
    assert client.get("/function/echo").status_code == 502


def test_async_calls_are_accepted_at_once_and_run_one_at_a_time(serve: Callable[[Flask], Any]) -> None:
    recorder = Recorder()
    client = gateway_for(serve, recorder)
    recorder.go_on.clear()
    answers = [client.post("/async-function/echo/later", data=f"{number}".encode()) for number in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert len({answer.headers["X-Call-Id"] for answer in answers}) == 3
    recorder.go_on.set()
    assert all(recorder.done.acquire(timeout=30) for _ in range(3))
    assert recorder.bodies == [b"0", b"1", b"2"]
    assert recorder.most_at_once == 1


def test_async_calls_must_be_posts_with_small_bodies(serve: Callable[[Flask], Any]) -> None:
    client = gateway_for(serve, Recorder())
    assert client.get("/async-function/echo").status_code == 405
    assert client.post("/async-function/echo", data=b"x" * 256_001).status_code == 500


def test_functions_are_listed_with_their_number_of_calls(serve: Callable[[Flask], Any]) -> None:
    client = gateway_for(serve, Recorder())
    client.get("/function/echo")
    (listed,) = client.get("/system/functions").json
    assert (listed["name"], listed["invocationCount"]) == ("echo", 1)
    assert listed["annotations"]["schedule"] == "*/5 * * * *"


def test_the_site_is_on_the_same_origin() -> None:
    client = create_gateway({}, {}).test_client()
    with client.get("/") as page:
        assert b"<html" in page.data
    assert client.get("/../stack.yml").status_code == 404
    assert client.get("/no-such-file").status_code == 404
