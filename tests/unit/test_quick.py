"""What answers without Flask answers as Flask does, many rows too, and loads little."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from PIL import Image

from asgi import ServedAsgi
from classify import quick
from common.brief import TakesLong, briefly
from conftest import wait_until
from flowers import as_record, draw, encode, flower_rows
from serving import ROW, validate

FUNCTIONS = Path(__file__).parents[2] / "functions"
PICTURE = encode(draw("cat", 5))
ROWS = [as_record(row) for row in flower_rows(40, seed=9)]


def csv_of(rows):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(ROW), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@pytest.fixture
def served(serving):
    """A replica as functions/server.py makes it, beside the Flask one."""
    one = ServedAsgi(quick.create(replace(serving.settings, processes=1)))
    wait_until(lambda: requests.get(f"{one.url}/readyz", timeout=10).status_code == 200)
    yield one
    one.stop()


CALLS = {
    "a row": ("/flowers", json.dumps(ROW).encode(), "application/json", {}),
    "rows": ("/flowers", json.dumps(ROWS).encode(), "application/json; charset=utf-8", {}),
    "a CSV": ("/flowers", csv_of(ROWS), "text/csv", {}),
    "a CSV that wants one": ("/flowers", csv_of(ROWS), "text/csv", {"Accept": "text/csv"}),
    "a browser": ("/flowers", json.dumps(ROW).encode(), "application/json", {"Accept": "text/csv;q=0.1, */*"}),
    "a picture": ("/pets", PICTURE, "image/png", {}),
    "no picture": ("/pets", b"nothing", "image/png", {}),
    "an empty body": ("/pets", b"", "image/png", {}),
    "rows for pictures": ("/pets", b"{}", "application/json", {}),
    "a picture for rows": ("/flowers", PICTURE, "image/png", {}),
    "no JSON": ("/flowers", b"{", "application/json", {}),
    "a wrong row": ("/flowers", json.dumps({**ROW, "petal": "x"}).encode(), "application/json", {}),
    "a list in a list": ("/flowers", json.dumps([[1, 2, 3, 4]]).encode(), "application/json", {}),
    "an empty list": ("/flowers", b"[]", "application/json", {}),
    "a header alone": ("/flowers", csv_of([]), "text/csv", {}),
    "not UTF-8": ("/flowers", b"\xff\xfe", "text/csv", {}),
    "no such pipeline": ("/nobody", b"{}", "application/json", {}),
    "an unknown parameter": ("/flowers?x=1", json.dumps(ROW).encode(), "application/json", {}),
    "an explained row": ("/flowers?explain=1", json.dumps(ROW).encode(), "application/json", {}),
    "an explained CSV": ("/flowers?explain=1", csv_of(ROWS), "text/csv", {"Accept": "text/csv"}),
    "explain=2": ("/flowers?explain=2", json.dumps(ROW).encode(), "application/json", {}),
}


@pytest.mark.parametrize("call", CALLS)
def test_it_answers_as_flask_does(serving, served, call):
    path, body, content_type, headers = CALLS[call]
    ours = requests.post(f"{served.url}{path}", body, headers={"Content-Type": content_type, **headers}, timeout=10)
    flask = serving.client.post(path, data=body, headers={"Content-Type": content_type, **headers})
    assert (ours.status_code, ours.headers["Content-Type"]) == (flask.status_code, flask.headers["Content-Type"])
    if "json" not in ours.headers["Content-Type"]:
        assert ours.content == flask.data
        return
    told, wanted = ours.json(), flask.json
    assert told.pop("request_id") != wanted.pop("request_id")
    assert told == wanted


def test_pictures_of_a_form_are_answered_too(served):
    files = [("image", (f"{label}.png", encode(draw(label, 3)))) for label in ("dog", "cat", "dog")]
    answer = requests.post(f"{served.url}/pets", files=files, timeout=10)
    assert [one["label"] for one in answer.json()["predictions"]] == ["dog", "cat", "dog"]


@pytest.mark.parametrize("accept", ["text/csv", "application/json"])
def test_many_rows_are_answered_each_as_it_is_alone_and_sent_as_they_are_made(served, accept):
    many = [as_record(row) for row in flower_rows(9000, seed=4)]
    headers = {"Content-Type": "text/csv", "Accept": accept}
    answer = requests.post(f"{served.url}/flowers", csv_of(many), headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["Transfer-Encoding"]) == (200, "chunked")
    if accept == "text/csv":
        found = list(csv.DictReader(io.StringIO(answer.text)))
    else:
        validate(answer.json(), "predictions")
        assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
        found = answer.json()["predictions"]
    assert len(found) == 9000
    for place in (0, 1, 2047, 2048, 4095, 4096, 8999):
        alone = requests.post(f"{served.url}/flowers", json=many[place], timeout=10).json()["predictions"][0]
        assert (found[place]["label"], found[place]["status"]) == (alone["label"], alone["status"])
        assert float(found[place]["confidence"]) == pytest.approx(alone["confidence"], abs=2e-6)


@pytest.mark.parametrize("as_csv", [True, False])
def test_of_many_rows_every_mistake_is_told_before_any_answer(served, as_csv):
    many = [as_record(row) for row in flower_rows(9000, seed=4)]
    many[17], many[8999] = {**many[17], "petal": "high"}, {**many[8999], "place": "moon"}
    content_type = "text/csv" if as_csv else "application/json"
    body = csv_of(many) if as_csv else json.dumps([{name: row[name] for name in ROW} for row in many])
    answer = requests.post(f"{served.url}/flowers", body, headers={"Content-Type": content_type}, timeout=60)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == ["rows[17].petal", "rows[8999].place"]


def test_rows_whose_numbers_look_unusual_are_read_as_they_are_alone(served):
    """A text, a whole number too large for a float's digits, a number as category: each takes the closer look."""
    odd = [{**ROW, "petal": " 11.5 "}, {**ROW, "petal": 11}, {**ROW, "colour": 7}, {**ROW, "turn": 10**15}]
    many = [*odd, *ROWS] * 30
    found = requests.post(f"{served.url}/flowers", json=[{name: row[name] for name in ROW} for row in many], timeout=60)
    assert found.status_code == 200, found.text
    for place in range(6):
        alone = requests.post(f"{served.url}/flowers", json=odd[place] if place < 4 else ROWS[place - 4], timeout=10)
        if alone.status_code == 200:
            wanted = alone.json()["predictions"][0]["probabilities"]
            assert found.json()["predictions"][place]["probabilities"] == pytest.approx(wanted, abs=2e-6)


def test_a_small_picture_is_answered_on_the_event_loop_where_each_process_has_one_thread(serving):
    rgb = Image.new("RGB", (1000, 1000))
    small, large = (encode(rgb.resize(size)) for size in ((160, 120), (1000, 1000)))
    assert len(large) < 65_536  # so few bytes that only its header tells
    for threads, alone in ((1, True), (2, False)):
        application = quick.create(replace(serving.settings, processes=1, threads=threads))
        job = application._quick("POST", "/pets", "", {b"content-type": b"image/png"})
        assert (len(small) <= job.light) is alone
        assert job.light <= 65_536
        assert briefly(job.run, small).status == 200
        with pytest.raises(TakesLong):
            briefly(job.run, large)
        assert job.run(large).status == 200
        explained = application._quick("POST", "/pets", "explain=1", {b"content-type": b"image/png"})
        assert explained.light < 0


def test_a_row_is_explained_on_the_event_loop_and_many_are_not(serving):
    application = quick.create(serving.settings)
    job = application._quick("POST", "/flowers", "explain=1", {b"content-type": b"application/json"})
    one, many = json.dumps(ROW).encode(), json.dumps([ROW] * 20).encode()
    assert len(one) <= job.light < len(many)
    assert len(many) <= application._quick("POST", "/flowers", "", {b"content-type": b"application/json"}).light


def test_processes_agree_on_the_places_of_all_endpoints_in_the_memory_they_count_in(serving):
    assert {"none"} | {rule.endpoint for rule in serving.client.application.url_map.iter_rules()} == set(
        quick.ENDPOINTS
    )


def test_a_prediction_loads_neither_flask_nor_any_heavy_library(serving, tmp_path):
    serving.served.stop()
    (tmp_path / "cat.png").write_bytes(PICTURE)
    script = f"""
import asyncio, json, sys
from pathlib import Path
from classify import quick
from common.brief import TakesLong, briefly
from common.settings import read_settings
application = quick.create(read_settings({dict(serving.settings.environment)!r}))
async def call(method, path, body=b"", content_type=""):
    told = []
    async def receive(): return {{"type": "http.request", "body": body}}
    async def send(message): told.append(message)
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    scope = {{"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}}
    await application(scope, receive, send)
    return told[0]["status"]
row, picture = json.dumps({ROW!r}).encode(), Path({str(tmp_path / "cat.png")!r}).read_bytes()
async def main():
    assert await call("POST", "/flowers", row, "application/json") == 200
    assert await call("POST", "/flowers", b"petal,turn,colour,place\\n11,90,red,sun\\n", "text/csv") == 200
    assert await call("POST", "/pets", picture, "image/png") == 200
    assert await call("GET", "/healthz") == 200
asyncio.run(main())
print(sorted(name for name in ({{"flask", "werkzeug", "prometheus_client"}} | set({HEAVY!r})) if name in sys.modules))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(FUNCTIONS)}, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "[]\n"), ended.stderr


HEAVY = ("tensorflow", "mlflow", "pandas", "boto3", "scipy", "keras", "matplotlib", "psutil", "train", "fetch_batch")
