"""Every fault between a batch-api and the store is counted and reported; no answer is lost silently."""

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
from common.storage import keys
from common.storage.dataset import IntentDocument
from conftest import wait_until
from fetch_batch.app import create_app
from fetch_batch.errors import SourceUnavailable
from fetch_batch.sources.batch_api import read_batch
from fetching import WINDOW_S, deploy_fetch
from local.data_api import FAULT_KINDS, Faults

ROOT = Path(__file__).parents[2]
KILLED_FETCH = """
import os, signal, sys
from pathlib import Path
from common.storage.folder import FolderStore
from fetch_batch.app import create_app
from fetch_batch.settings import read_settings

class KilledWhileWriting(FolderStore):
    def put(self, key, body, **condition):
        if "/samples/" in key and sys.argv[1] == ("meta" if key.endswith(".meta.json") else "body"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().put(key, body, **condition)

settings = read_settings(os.environ)
store = KilledWhileWriting(Path(settings.store.removeprefix("file://")))
create_app(settings, store).test_client().post("/covertype")
"""


@pytest.fixture
def start(make_settings, serve, store, clock):
    return lambda api=None, **environment: deploy_fetch(make_settings, serve, store, clock, api, **environment)


def faulty(*kinds, rate=1.0, **more):
    return {"faults": Faults(kinds, rate, **more)}


def test_a_collection_with_every_fault_completes_and_names_missing_batches(start):
    faults = faulty(*FAULT_KINDS, rate=0.6, hang_s=4)
    deployment = start(api={**faults, "seed": 3}, SABUESO_SOURCE_TIMEOUT_S="2")  # with this seed one answer hangs
    for _ in range(15):
        deployment.fetch()
        deployment.clock.now += 300
    status = deployment.status()
    assert status["complete"] is True
    have = {batch["number"] for batch in status["batches"]}
    assert status["missing_batches"] == [number for number in range(1, 11) if number not in have]
    assert status["missing_batches"]
    assert f"missing batches: {', '.join(map(str, status['missing_batches']))}" in status["message"]
    failures = {failure["detail"]: failure["count"] for failure in status["failures"]}
    assert set(failures) == {"it answered 500", "the answer was cut short", "no answer within 2 s"}
    outcomes = [intent.outcome for intent in deployment.dataset().intents()]
    assert outcomes.count("stored") == status["samples"]
    assert sum(failures.values()) == len([outcome for outcome in outcomes if outcome.startswith("failed")])
    assert status["lost_answers"] == 0
    assert status["quarantine"]["rows"] > 0


def test_wrong_rows_are_quarantined_with_their_reason(start):
    deployment = start(api=faulty("row"), SABUESO_SAMPLES_PER_BATCH=12)
    result = deployment.fetch()
    status = deployment.status()
    assert 12 <= result["quarantined"] == status["quarantine"]["rows"] <= 36
    assert status["examples"] >= 60
    reasons = {(reason["field"], reason["detail"]) for reason in status["quarantine"]["reasons"]}
    assert reasons == {
        ("row", "has 10 values, not 13"),
        ("Elevation", "must be a number, not 'much'"),
        ("Elevation", "99999 is outside 0..5000"),
        ("Cover_Type", "'99' is not a label"),
    }


def test_three_failures_end_a_fetch_and_the_next_one_retries(start):
    deployment = start(api=faulty("500"))
    assert deployment.fetch()["status"] == "source-unavailable"
    assert len(deployment.dataset().intents()) == 3
    deployment.fetch()
    assert len(deployment.dataset().intents()) == 6


def test_a_source_that_is_down_is_reported_and_no_answer_is_lost(start):
    deployment = start()
    deployment.api.stop()
    result = deployment.fetch()
    assert (result["status"], result["message"]) == ("source-unavailable", f"no connection to {deployment.api.url}")
    status = deployment.status()
    assert (status["lost_answers"], status["complete"]) == (0, False)
    assert status["executions"][0]["status"] == "source-unavailable"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>Log in to this network</html>", "not a batch: expected JSON"),
        (b"[]", "not a batch: expected JSON"),
        (b'{"batch_number": "1", "data": []}', "of the wrong type"),
        (b'{"batch_number": 0, "data": []}', "of the wrong type"),
        (b'{"batch_number": 1, "data": {}}', "of the wrong type"),
    ],
)
def test_an_answer_that_is_not_a_batch_is_not_stored(make_settings, serve, store, body, message):
    source = Flask(__name__)
    source.add_url_rule("/data", view_func=lambda: Response(body))
    settings = make_settings("covertype", COVERTYPE_API_URL=serve(source).url, SABUESO_MIN_INTERVAL_S="0.001")
    client = create_app(settings, store).test_client()
    result = client.post("/covertype").json["results"][0]
    assert (result["status"], result["stored"]) == ("source-unavailable", 0)
    assert message in result["message"]
    status = client.get("/covertype").json
    assert (status["samples"], status["source"], status["complete"]) == (0, None, False)


@pytest.mark.parametrize("how", ["silent", "slow"])
def test_an_endless_answer_is_abandoned_in_time(make_settings, serve, store, how):
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


@pytest.mark.parametrize("written", ["meta", "body"])
def test_a_fetch_killed_between_answer_and_write_reports_one_lost_answer(start, written):
    deployment = start(SABUESO_LEASE_S="0.5")
    environment = {**os.environ, **deployment.settings.environment, "PYTHONPATH": str(ROOT / "functions")}
    command = [sys.executable, "-c", KILLED_FETCH, written]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    wait_until(lambda: deployment.status()["lost_answers"] == 1)
    status = deployment.status()
    assert (status["samples"], status["complete"]) == (0, False)
    assert "1 answers were lost between the source and the store" in status["message"]
    assert deployment.fetch()["stored"] == 2
    status = deployment.status()
    assert (status["lost_answers"], status["samples"]) == (1, 2)
    assert [execution["state"] for execution in status["executions"]] == ["finished", "interrupted"]


def test_an_answer_in_transit_is_not_lost(start):
    deployment = start(api=faulty("hang", hang_s=0.6), SABUESO_SAMPLES_PER_BATCH=1)
    thread = threading.Thread(target=deployment.fetch)
    thread.start()
    wait_until(lambda: deployment.dataset().intents())
    assert deployment.status()["lost_answers"] == 0
    thread.join()
    assert (deployment.status()["samples"], deployment.status()["lost_answers"]) == (1, 0)


def test_a_store_that_is_down_gives_503_until_it_is_back(start, tmp_path):
    deployment = start()
    (tmp_path / "store").rename(tmp_path / "moved")
    for answer in (
        deployment.client.post("/covertype"),
        deployment.client.post("/"),
        deployment.client.get("/covertype"),
    ):
        assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
        assert answer.json["type"] == "urn:sabueso:problem:store-unavailable"
        assert int(answer.headers["Retry-After"]) > 0
    (tmp_path / "moved").rename(tmp_path / "store")
    assert deployment.fetch()["status"] == "collected"


def test_an_s3_store_that_does_not_answer_gives_503(make_settings, secrets):
    for name in ("s3-access-key", "s3-secret-key"):
        (secrets / name).write_text("a-secret-text")
    settings = make_settings("flowers", SABUESO_STORE="s3://bucket/prefix", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9")
    answer = create_app(settings).test_client().post("/flowers")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "s3://bucket/prefix" in answer.json["detail"]
    assert "a-secret-text" not in answer.text


def is_stored_outcome(key, body):
    return key.startswith(keys.intents("covertype")) and IntentDocument.decode(body, key).outcome == "stored"


def fail_writes(deployment, monkeypatch, fails):
    """Let the store refuse the writes for which `fails(key, body)` is true."""
    real = deployment.store.put

    def put(key, body, **options):
        if fails(key, body):
            raise StoreUnavailable(deployment.store.where, "it was stopped")
        return real(key, body, **options)

    monkeypatch.setattr(deployment.store, "put", put)


@pytest.mark.parametrize("part", ["/samples/", ".meta.json", "source.json", "outcome"])
def test_an_answer_that_the_store_refused_is_stored_by_the_next_fetch(start, monkeypatch, part):
    deployment = start(SABUESO_SAMPLES_PER_BATCH=1)
    with monkeypatch.context() as patch:
        fail_writes(
            deployment, patch, lambda key, body: part in key or (part == "outcome" and is_stored_outcome(key, body))
        )
        answer = deployment.client.post("/covertype")
        assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:store-unavailable")
        assert deployment.client.post("/covertype").status_code == 503
        assert (
            len(deployment.dataset().intents()) == 1
        )  # the source is not asked while the store can't take its answers
    status = deployment.status()
    assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
    assert "1 answers of the source wait" in status["message"]
    deployment.clock.now += WINDOW_S
    deployment.fetch()
    status = deployment.status()
    assert (status["waiting_answers"], status["lost_answers"]) == (0, 0)
    samples = deployment.dataset().samples()
    intents = {intent.id: intent.outcome for intent in deployment.dataset().intents()}
    assert set(intents.values()) == {"stored"}
    assert sorted(sample.meta.intent for sample in samples) == sorted(intents)
    assert {1, 2} <= {sample.batch for sample in samples}


def test_waiting_answers_are_stored_although_the_collection_is_complete(start, monkeypatch):
    deployment = start(SABUESO_SAMPLES_PER_BATCH=1)
    deployment.fetch_windows(9)
    with monkeypatch.context() as patch:
        fail_writes(deployment, patch, is_stored_outcome)
        assert deployment.client.post("/covertype").status_code == 503
    status = deployment.status()
    assert (status["complete"], status["waiting_answers"]) == (True, 1)
    assert deployment.fetch()["status"] == "complete"
    assert deployment.status()["waiting_answers"] == 0
    assert {intent.outcome for intent in deployment.dataset().intents()} == {"stored", "exhausted"}


def test_an_answer_waits_only_for_its_own_store(start, make_settings, monkeypatch, tmp_path):
    deployment = start(SABUESO_SAMPLES_PER_BATCH=1)
    with monkeypatch.context() as patch:
        fail_writes(deployment, patch, lambda key, body: "/samples/" in key)
        assert deployment.client.post("/covertype").status_code == 503
    other = make_settings(
        "covertype", **{**deployment.settings.environment, "SABUESO_STORE": f"file://{tmp_path}/other-store"}
    )
    elsewhere = create_app(other).test_client()
    assert elsewhere.get("/covertype").json["waiting_answers"] == 0
    assert elsewhere.post("/covertype").json["results"][0]["stored"] == 1
    assert deployment.status()["waiting_answers"] == 1


def test_an_unreadable_waiting_answer_stops_nothing(start):
    deployment = start(SABUESO_SAMPLES_PER_BATCH=1)
    folder = deployment.settings.scratch / "waiting" / "covertype"
    folder.mkdir(parents=True)
    (folder / "intent-1.json").write_text("")
    assert deployment.fetch()["status"] == "collected"
    assert deployment.status()["waiting_answers"] == 0


def test_an_s3_source_that_refuses_is_reported_as_unavailable(make_settings, monkeypatch):
    class Refusing:
        def list(self, prefix):
            return iter(["cat/1.png", "dog/1.png"])

        def read_into(self, key, file):
            raise StoreUnavailable("s3://elsewhere", "GetObject answered AccessDenied")

    monkeypatch.setattr("fetch_batch.sources.files.open_store", lambda settings, location: Refusing())
    app = create_app(make_settings("pets", PETS_SOURCE="s3://elsewhere/pets"))
    answer = app.test_client().post("/pets")
    assert answer.status_code == 200
    result = answer.json["results"][0]
    assert result["status"] == "source-unavailable"
    assert "AccessDenied" in result["message"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[" * 100_000, "nested deeper than 32"),
        (b'{"batch_number": 1, "data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested deeper than 32"),
        (b'{"batch_number": 1, "data": [' + b"[]," * 800_000 + b"[]]}", "commas and brackets; at most 1,500,000"),
        (b"\xff\xfe\xff", "not JSON"),
    ],
)
def test_an_answer_that_would_take_too_much_to_read_is_no_batch(body, reason):
    with pytest.raises(SourceUnavailable, match=reason):
        read_batch(body)


def test_a_row_with_nan_does_not_cost_the_others():
    number, rows = read_batch(b'{"batch_number": 3, "data": [["1"], [NaN], [Infinity]]}')
    assert (number, len(rows), rows[0], str(rows[1][0])) == (3, 3, ["1"], "nan")
