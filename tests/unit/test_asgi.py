"""Calls that are answered without Flask, and those that Flask answers behind the same server."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask, request

from asgi import ServedAsgi
from common.asgi import FLASK_THREADS, Application, Job, _Room
from common.brief import refuse_if_brief
from common.errors import Unavailable, Unusable
from common.http import Reply, as_json
from common.tally import Tally
from common.web import make_app
from conftest import wait_until

BLOCKS = [b"first ", b"second ", b"third"]
SHORT = 100


@pytest.fixture
def made():
    """How often the Flask app was made."""
    return []


@pytest.fixture
def world(make_settings, made):
    settings, tally = make_settings("flowers", SABUESO_MAX_BODY_MB="0.01"), Tally("demo")

    def flask():
        made.append(1)
        app = make_app("demo", settings, {}, tally=tally)
        app.add_url_rule("/slow", "slow", lambda: {"got": len(request.get_data())}, methods=["POST"])
        return app

    def refuse(body):
        raise Unusable("no such thing")

    def fail(body):
        raise RuntimeError("the secret is swordfish")

    def late(body):
        raise TimeoutError

    def perhaps_long(body):
        if len(body) > 50:
            refuse_if_brief()
        return as_json(thread=threading.current_thread().name)

    jobs = {
        "/perhaps-long": Job("echo", perhaps_long, SHORT),
        "/late": Job("late", late),
        "/echo": Job("echo", lambda body: as_json(length=len(body), thread=threading.current_thread().name), SHORT),
        "/parts": Job("parts", lambda body: Reply(200, "text/csv", iter(BLOCKS))),
        "/refuse": Job("refuse", refuse),
        "/fail": Job("fail", fail),
    }
    served = ServedAsgi(Application(settings, flask, tally, quick=lambda method, path, *rest: jobs.get(path)))
    yield served
    served.stop()


def test_a_quick_call_has_id_and_type_and_is_answered_without_flask(world, made):
    answer = requests.post(f"{world.url}/echo", data=b"12345", timeout=10)
    assert (answer.status_code, answer.json()["length"]) == (200, 5)
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert made == []


def test_what_turns_out_to_take_long_is_done_in_a_thread(world):
    thread = [
        requests.post(f"{world.url}/perhaps-long", data=b"x" * size, timeout=10).json()["thread"] for size in (50, 51)
    ]
    assert [one.startswith("quick") for one in thread] == [False, True]


def test_health_is_told_without_flask(world, made):
    assert requests.get(f"{world.url}/healthz", timeout=10).json() == {"status": "ok"}
    assert requests.get(f"{world.url}/readyz", timeout=10).json()["status"] == "ok"
    assert made == []


def test_what_is_missing_is_told_until_it_is_there(make_settings):
    missing = ["the model"]
    settings = make_settings("flowers")
    served = ServedAsgi(Application(settings, lambda: Flask("x"), Tally("x"), lambda: missing[0]))
    answer = requests.get(f"{served.url}/readyz", timeout=10)
    assert (answer.status_code, answer.json()["detail"]) == (503, "not ready yet: the model")
    assert answer.headers["Retry-After"]
    missing[0] = None
    assert requests.get(f"{served.url}/readyz", timeout=10).status_code == 200
    served.stop()


def test_small_bodies_are_answered_at_once_and_others_in_a_thread(world):
    threads = [requests.post(f"{world.url}/echo", data=b"1" * size, timeout=10).json()["thread"] for size in (100, 101)]
    assert [name.startswith("quick") for name in threads] == [False, True]


def test_a_body_in_chunks_is_put_together(world):
    assert requests.post(f"{world.url}/echo", data=iter([b"12", b"345"]), timeout=10).json()["length"] == 5


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_too_large_is_refused_with_its_limit(world, chunked):
    body = b"1" * 10_001
    answer = requests.post(f"{world.url}/echo", data=iter([body[:6000], body[6000:]]) if chunked else body, timeout=10)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:sabueso:problem:too-large")
    assert "0.01 MB at most (SABUESO_MAX_BODY_MB)" in answer.json()["detail"]


def test_an_answer_in_parts_comes_whole(world):
    answer = requests.post(f"{world.url}/parts", timeout=10)
    assert (answer.content, answer.headers["Transfer-Encoding"]) == (b"".join(BLOCKS), "chunked")


def test_answers_are_sent_without_waiting_for_more(make_settings, monkeypatch):
    """An answer goes in two parts; where the second waits for the first to be acknowledged, it takes 40 ms."""
    told = []
    real = asyncio.base_events._set_nodelay
    monkeypatch.setattr(asyncio.base_events, "_set_nodelay", lambda one: real(one) or told.append(_no_delay(one)))
    served = ServedAsgi(Application(make_settings("flowers"), lambda: Flask("x"), Tally("x")))
    try:
        assert requests.get(f"{served.url}/healthz", timeout=20).ok
    finally:
        served.stop()
    assert told
    assert all(told)


def _no_delay(one):
    return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_errors_are_problem_documents_and_tell_nothing_of_the_inside(world, caplog):
    answer = requests.post(f"{world.url}/refuse", timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    answer = requests.post(f"{world.url}/fail", timeout=10)
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:sabueso:problem:internal")
    assert "swordfish" not in answer.text
    assert "the secret is swordfish" in caplog.text


def test_a_job_that_timed_out_by_itself_is_not_blamed_on_the_body(world):
    answer = requests.post(f"{world.url}/late", data=b"12345", timeout=10)
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:sabueso:problem:internal")


def test_all_other_calls_are_flask_s_which_is_made_once(world, made):
    assert requests.post(f"{world.url}/slow", data=b"123", timeout=10).json() == {"got": 3}
    answer = requests.get(f"{world.url}/nothing", timeout=10)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:sabueso:problem:not-found")
    assert made == [1]


@pytest.mark.parametrize("chunked", [False, True])
def test_flask_gets_bodies_whole_and_refuses_those_that_are_too_large(world, chunked):
    for size, status in ((10_000, 200), (10_001, 413)):
        parts = [b"1" * 6000, b"1" * (size - 6000)]
        answer = requests.post(f"{world.url}/slow", data=iter(parts) if chunked else b"".join(parts), timeout=10)
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.json() == {"got": size}


def test_both_are_counted_together(world):
    requests.post(f"{world.url}/echo", timeout=10)
    requests.post(f"{world.url}/slow", timeout=10)
    told = requests.get(f"{world.url}/metrics", timeout=10).text
    for endpoint in ("echo", "slow"):
        assert f'sabueso_requests_total{{endpoint="{endpoint}",function="demo",status="200"}} 1.0' in told
        assert f'sabueso_request_seconds_bucket{{endpoint="{endpoint}",function="demo",le="+Inf"}} 1.0' in told
        assert f'sabueso_request_seconds_count{{endpoint="{endpoint}",function="demo"}} 1.0' in told


def test_a_caller_that_goes_in_the_middle_of_its_body_harms_nobody(world):
    parts = urlsplit(world.url)
    with socket.create_connection((parts.hostname, parts.port)) as gone:
        gone.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n123")
    assert requests.post(f"{world.url}/echo", data=b"12345", timeout=10).status_code == 200


def test_a_body_that_does_not_come_is_given_up(make_settings, monkeypatch):
    monkeypatch.setattr("common.asgi.BODY_S", 0.2)
    job = Job("echo", lambda body: as_json())
    served = ServedAsgi(Application(make_settings("flowers"), lambda: Flask("x"), Tally("x"), quick=lambda *call: job))
    wire = http.client.HTTPConnection("127.0.0.1", urlsplit(served.url).port, timeout=10)
    wire.putrequest("POST", "/echo")
    wire.putheader("Content-Length", "10")
    wire.endheaders(b"123")
    answer = wire.getresponse()
    assert (answer.status, json.loads(answer.read())["type"]) == (400, "urn:sabueso:problem:malformed")
    wire.close()
    served.stop()


def test_no_more_bodies_are_in_memory_than_there_is_room_for(make_settings, monkeypatch):
    """Of two callers that each announce as much as there is room for, the second is not read until the first ends."""
    monkeypatch.setattr("common.asgi.BODIES", 1)
    settings, sizes = make_settings("flowers", SABUESO_MAX_BODY_MB="1"), []
    job = Job("echo", lambda body: sizes.append(len(body)) or as_json())
    served = ServedAsgi(Application(settings, lambda: Flask("x"), Tally("x"), quick=lambda *call: job))
    port = urlsplit(served.url).port
    slow = socket.create_connection(("127.0.0.1", port))
    slow.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n")
    answers = []
    other = threading.Thread(
        target=lambda: answers.append(requests.post(f"{served.url}/echo", data=b"1" * 500_000, timeout=20))
    )
    other.start()
    assert requests.post(f"{served.url}/echo", data=b"123", timeout=10).status_code == 200  # it takes no room
    assert sizes == [3]
    slow.sendall(b"1" * 600_000)
    other.join(20)
    wait_until(lambda: sizes == [3, 600_000, 500_000])
    assert [answer.status_code for answer in answers] == [200]
    slow.close()
    served.stop()


def test_who_waits_for_room_comes_before_those_who_come_later():
    order = []

    async def body(room, name, size, stays=0.0):
        async with room.taken(size):
            order.append(name)
            await asyncio.sleep(stays)

    async def run():
        room = _Room(10)
        held = asyncio.create_task(body(room, "held", 6, 0.2))
        await asyncio.sleep(0.01)
        large = asyncio.create_task(body(room, "large", 10, 0.01))
        gone = asyncio.create_task(body(room, "gone", 10))
        await asyncio.sleep(0.01)
        small = asyncio.create_task(body(room, "small", 3))  # there is room for it, but not its turn
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.wait_for(asyncio.gather(held, large, small), 10)
        async with asyncio.timeout(1), room.taken(10):  # all was given back
            pass

    asyncio.run(run())
    assert order == ["held", "large", "small"]


def test_a_cancelled_waiter_keeps_nobody_waiting():
    async def run():
        room = _Room(10)
        async with room.taken(6):
            first = asyncio.create_task(room._take(8))
            second = asyncio.create_task(room._take(4))
            await asyncio.sleep(0.01)
            first.cancel()
            await asyncio.wait_for(second, 5)

    asyncio.run(run())


def test_a_body_for_flask_keeps_no_thread_while_it_comes(world):
    """As many slow forms as there are threads: other calls of Flask are answered meanwhile."""
    parts = urlsplit(world.url)
    with contextlib.ExitStack() as stack:
        for _ in range(FLASK_THREADS):
            slow = stack.enter_context(socket.create_connection((parts.hostname, parts.port)))
            slow.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n123")
        assert requests.post(f"{world.url}/slow", data=b"12345", timeout=10).json() == {"got": 5}


def test_one_of_several_processes_that_is_stuck_is_told_by_health(make_settings, monkeypatch):
    application = Application(make_settings("flowers"), lambda: Flask("x"), Tally("x", 2), processes=2)
    assert application._health().status == 200
    monkeypatch.setattr("common.asgi.STUCK_S", 0.05)
    application.begin(1)
    time.sleep(0.1)
    application.tick()
    with pytest.raises(Unavailable, match="a process has done nothing"):
        application._health()
    application.begin(0)
    application.tick()
    assert application._health().status == 200
