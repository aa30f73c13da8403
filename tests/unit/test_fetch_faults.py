"""Whatever goes wrong between source and store is counted and told; nothing is lost in silence."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from flask import Flask, Response

from common.errors import StoreUnavailable
from conftest import wait_until
from fetch_batch.app import create_app
from fetching import WINDOW_S, fetching
from local.data_api import FAULT_KINDS, Faults

ROOT = Path(__file__).parents[2]
DYING = """
import os, signal, sys
from pathlib import Path
from common.objects import FolderObjects
from common.settings import read_settings
from fetch_batch.app import create_app

class Dying(FolderObjects):
    def put(self, key, body, **condition):
        if "/samples/" in key and sys.argv[1] == ("meta" if key.endswith(".meta.json") else "body"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().put(key, body, **condition)

settings = read_settings(os.environ)
store = Dying(Path(settings.store.removeprefix("file://")))
create_app(settings, store).test_client().post("/covertype")
"""


@pytest.fixture
def begin(make_settings, serve, store, clock):
    return lambda api=None, **environment: fetching(make_settings, serve, store, clock, api, **environment)


def faulty(*kinds, rate=1.0, **more):
    return {"faults": Faults(kinds, rate, **more)}


def test_with_every_fault_the_collection_ends_complete_and_names_what_is_missing(begin):
    faults = faulty(*FAULT_KINDS, rate=0.6, hang_s=4)
    demo = begin(api={**faults, "seed": 3}, SABUESO_SOURCE_TIMEOUT_S="2")  # with this seed one answer hangs
    for _ in range(15):
        demo.fetch()
        demo.clock.now += 300
    status = demo.status()
    assert status["complete"] is True
    have = {batch["number"] for batch in status["batches"]}
    assert status["missing_batches"] == [number for number in range(1, 11) if number not in have]
    assert status["missing_batches"]
    assert f"missing batches: {', '.join(map(str, status['missing_batches']))}" in status["message"]
    told = {failure["detail"]: failure["count"] for failure in status["failures"]}
    assert set(told) == {"it answered 500", "the answer was cut short", "no answer within 2 s"}
    outcomes = [intent["outcome"] for intent in demo.dataset().intents()]
    assert outcomes.count("stored") == status["samples"]
    assert sum(told.values()) == len([outcome for outcome in outcomes if outcome.startswith("failed")])
    assert status["lost_answers"] == 0
    assert status["quarantine"]["rows"] > 0


def test_wrong_rows_are_quarantined_with_their_reason_and_the_rest_is_kept(begin):
    demo = begin(api=faulty("row"), SABUESO_SAMPLES_PER_BATCH=12)
    result = demo.fetch()
    status = demo.status()
    assert 12 <= result["quarantined"] == status["quarantine"]["rows"] <= 36
    assert status["examples"] >= 60
    reasons = {(reason["field"], reason["detail"]) for reason in status["quarantine"]["reasons"]}
    assert reasons == {
        ("row", "has 10 values, not 13"),
        ("Elevation", "must be a number, not 'much'"),
        ("Elevation", "99999 is outside 0..5000"),
        ("Cover_Type", "'99' is no label"),
    }


def test_three_failures_end_a_call_and_the_next_asks_again(begin):
    demo = begin(api=faulty("500"))
    assert demo.fetch()["status"] == "source-unavailable"
    assert len(demo.dataset().intents()) == 3
    demo.fetch()
    assert len(demo.dataset().intents()) == 6


def test_a_source_that_is_down_is_told_and_nothing_is_lost(begin):
    demo = begin()
    demo.api.stop()
    result = demo.fetch()
    assert (result["status"], result["message"]) == ("source-unavailable", f"no connection to {demo.api.url}")
    status = demo.status()
    assert (status["lost_answers"], status["complete"]) == (0, False)
    assert status["executions"][0]["status"] == "source-unavailable"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>Log in to this network</html>", "not a batch: no JSON"),
        (b"[]", "not a batch: no JSON"),
        (b'{"batch_number": "1", "data": []}', "of the wrong type"),
        (b'{"batch_number": 0, "data": []}', "of the wrong type"),
        (b'{"batch_number": 1, "data": {}}', "of the wrong type"),
    ],
)
def test_an_answer_that_is_no_batch_is_no_sample(make_settings, serve, store, body, told):
    source = Flask(__name__)
    source.add_url_rule("/data", view_func=lambda: Response(body))
    settings = make_settings("covertype", COVERTYPE_API_URL=serve(source).url, SABUESO_MIN_INTERVAL_S="0.001")
    client = create_app(settings, store).test_client()
    result = client.post("/covertype").json["results"][0]
    assert (result["status"], result["stored"]) == ("source-unavailable", 0)
    assert told in result["message"]
    status = client.get("/covertype").json
    assert (status["samples"], status["source"], status["complete"]) == (0, None, False)


@pytest.mark.parametrize("how", ["silent", "slow"])
def test_an_answer_that_never_ends_is_given_up_in_time(make_settings, serve, store, how):
    source = Flask(__name__)

    def parts():
        for _ in range(200):
            yield b'{"batch_number":'
            time.sleep(0.1 if how == "slow" else 1)

    source.add_url_rule("/data", view_func=lambda: Response(parts()))
    url = serve(source).url
    settings = make_settings("covertype", COVERTYPE_API_URL=url, SABUESO_SOURCE_TIMEOUT_S="0.3")
    began = time.monotonic()
    result = create_app(settings, store).test_client().post("/covertype").json["results"][0]
    assert time.monotonic() - began < 20
    assert result["status"] == "source-unavailable"
    assert "0.3 s" in result["message"]


@pytest.mark.parametrize("at", ["meta", "body"])
def test_a_kill_between_answer_and_write_shows_as_one_lost_answer(begin, at):
    demo = begin(SABUESO_LEASE_S="0.5")
    environment = {**os.environ, **demo.settings.environment, "PYTHONPATH": str(ROOT / "functions")}
    command = [sys.executable, "-c", DYING, at]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    wait_until(lambda: demo.status()["lost_answers"] == 1)
    status = demo.status()
    assert (status["samples"], status["complete"]) == (0, False)
    assert "1 answers were lost between the source and the store" in status["message"]
    assert demo.fetch()["stored"] == 2
    status = demo.status()
    assert (status["lost_answers"], status["samples"]) == (1, 2)
    assert [execution["state"] for execution in status["executions"]] == ["finished", "interrupted"]


def test_an_answer_on_its_way_is_not_lost_yet(begin):
    demo = begin(api=faulty("hang", hang_s=0.6), SABUESO_SAMPLES_PER_BATCH=1)
    thread = threading.Thread(target=demo.fetch)
    thread.start()
    wait_until(lambda: demo.dataset().intents())
    assert demo.status()["lost_answers"] == 0
    thread.join()
    assert (demo.status()["samples"], demo.status()["lost_answers"]) == (1, 0)


def test_a_store_that_went_away_is_a_503_problem_and_comes_back(begin, tmp_path):
    demo = begin()
    (tmp_path / "store").rename(tmp_path / "away")
    for answer in (demo.client.post("/covertype"), demo.client.post("/"), demo.client.get("/covertype")):
        assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
        assert answer.json["type"] == "urn:sabueso:problem:store-unavailable"
        assert int(answer.headers["Retry-After"]) > 0
    (tmp_path / "away").rename(tmp_path / "store")
    assert demo.fetch()["status"] == "collected"


def test_a_store_on_s3_that_does_not_answer_is_a_503_problem(make_settings, secrets):
    for name in ("s3-access-key", "s3-secret-key"):
        (secrets / name).write_text("a-secret-text")
    settings = make_settings("flowers", SABUESO_STORE="s3://bucket/prefix", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9")
    answer = create_app(settings).test_client().post("/flowers")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "s3://bucket/prefix" in answer.json["detail"]
    assert "a-secret-text" not in answer.text


def fails_while_answering(demo, monkeypatch, fails):
    """The store goes away once the source has been asked, for writes that `fails` picks by their key."""
    real = demo.store.put

    def put(key, body, **options):
        if fails(key, body):
            raise StoreUnavailable(demo.store.where, "it was stopped")
        return real(key, body, **options)

    monkeypatch.setattr(demo.store, "put", put)


@pytest.mark.parametrize("part", ["/samples/", ".meta.json", "source.json", "outcome"])
def test_an_answer_that_the_store_could_not_take_waits_and_is_stored_by_the_next_fetch(begin, monkeypatch, part):
    demo = begin(SABUESO_SAMPLES_PER_BATCH=1)
    with monkeypatch.context() as patch:
        fails_while_answering(
            demo, patch, lambda key, body: part in key or (part == "outcome" and b'"outcome": "stored"' in body)
        )
        answer = demo.client.post("/covertype")
        assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:store-unavailable")
        assert demo.client.post("/covertype").status_code == 503
        assert len(demo.dataset().intents()) == 1  # the source is not asked while the store can't take its answers
    status = demo.status()
    assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
    assert "1 answers of the source wait" in status["message"]
    demo.clock.now += WINDOW_S
    demo.fetch()
    status = demo.status()
    assert (status["waiting_answers"], status["lost_answers"]) == (0, 0)
    samples = demo.dataset().samples()
    intents = {intent["id"]: intent["outcome"] for intent in demo.dataset().intents()}
    assert set(intents.values()) == {"stored"}
    assert sorted(sample.meta["intent"] for sample in samples) == sorted(intents)
    assert {1, 2} <= {sample.batch for sample in samples}


def test_what_waits_is_written_even_if_the_collection_is_complete(begin, monkeypatch):
    demo = begin(SABUESO_SAMPLES_PER_BATCH=1)
    demo.windows(9)
    with monkeypatch.context() as patch:
        fails_while_answering(demo, patch, lambda key, body: b'"outcome": "stored"' in body)
        assert demo.client.post("/covertype").status_code == 503
    status = demo.status()
    assert (status["complete"], status["waiting_answers"]) == (True, 1)
    assert demo.fetch()["status"] == "complete"
    assert demo.status()["waiting_answers"] == 0
    assert {intent["outcome"] for intent in demo.dataset().intents()} == {"stored", "exhausted"}


def test_an_answer_waits_for_its_own_store_alone(begin, make_settings, monkeypatch, tmp_path):
    demo = begin(SABUESO_SAMPLES_PER_BATCH=1)
    with monkeypatch.context() as patch:
        fails_while_answering(demo, patch, lambda key, body: "/samples/" in key)
        assert demo.client.post("/covertype").status_code == 503
    other = make_settings(
        "covertype", **{**demo.settings.environment, "SABUESO_STORE": f"file://{tmp_path}/other-store"}
    )
    elsewhere = create_app(other).test_client()
    assert elsewhere.get("/covertype").json["waiting_answers"] == 0
    assert elsewhere.post("/covertype").json["results"][0]["stored"] == 1
    assert demo.status()["waiting_answers"] == 1


def test_a_waiting_answer_that_can_t_be_read_stops_nothing(begin):
    demo = begin(SABUESO_SAMPLES_PER_BATCH=1)
    folder = demo.settings.scratch / "waiting" / "covertype"
    folder.mkdir(parents=True)
    (folder / "intent-1.json").write_text("")
    assert demo.fetch()["status"] == "collected"
    assert demo.status()["waiting_answers"] == 0


def test_a_source_on_s3_that_refuses_is_a_source_that_is_unavailable(make_settings, monkeypatch):
    class Refusing:
        def list(self, prefix):
            return iter(["cat/1.png", "dog/1.png"])

        def read_into(self, key, file):
            raise StoreUnavailable("s3://elsewhere", "GetObject answered AccessDenied")

    monkeypatch.setattr("fetch_batch.files.open_objects", lambda settings, location: Refusing())
    app = create_app(make_settings("pets", PETS_SOURCE="s3://elsewhere/pets"))
    answer = app.test_client().post("/pets")
    assert answer.status_code == 200
    result = answer.json["results"][0]
    assert result["status"] == "source-unavailable"
    assert "AccessDenied" in result["message"]
