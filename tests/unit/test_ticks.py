"""One tick over all pipelines: the problem of one pipeline stops no other."""

import json
import logging

import pytest
from flask import Flask

from common.storage import keys
from common.storage.executions import begin
from common.storage.leases import acquire
from common.storage.training_record import TrainingRecord
from fetch_batch.app import create_app
from fetch_batch.record import FetchRecord
from flowers import draw_folders, flower_rows, write_csv


class Calls(list):
    """The pipelines for which train was called; `url` is the gateway's."""

    url = ""


@pytest.fixture
def train_calls(serve):
    gateway, calls = Flask(__name__), Calls()

    @gateway.post("/function/train/<name>")
    def train(name):
        calls.append(name)
        return {}, 202

    calls.url = serve(gateway).url
    return calls


@pytest.fixture
def make_client(make_settings, store, train_calls, tmp_path):
    """After the first tick all data are stored: of flowers enough to train, of pets too few."""

    def make(**environment):
        defaults = {
            "FLOWERS_SOURCE": write_csv(tmp_path / "flowers.csv", flower_rows(30)),
            "PETS_SOURCE": draw_folders(tmp_path / "pets", 2),
            "OPENFAAS_URL": train_calls.url,
            "SABUESO_TRIGGER": "on",
            "SABUESO_MIN_INTERVAL_S": "0.000001",
        }
        return create_app(make_settings("flowers", "pets", **{**defaults, **environment}), store).test_client()

    return make


def tick(client):
    answer = client.post("/")
    assert answer.status_code == 200, answer.text
    return answer.json["results"]


def test_a_missing_train_token_is_reported_and_all_data_are_collected(make_client, secrets, train_calls, caplog):
    caplog.set_level(logging.INFO, "sabueso")
    (secrets / "train-token").unlink()
    client = make_client()
    assert [result["stored"] for result in tick(client)] == [1, 4]
    flowers, pets = tick(client)
    assert (flowers["status"], pets["status"]) == ("complete", "complete")
    missing = f"no readable file {secrets}/train-token"
    assert flowers["training"].startswith("30 examples and no version yet: train was not called: train-token: ")
    assert missing in flowers["training"]
    assert "Create that secret" in flowers["training"]
    log = [record.facts for record in caplog.records if record.message == "called train"]
    assert [(facts["pipeline"], missing in facts["outcome"]) for facts in log] == [("flowers", True)]
    (secrets / "train-token").write_text("the-train-token")
    tick(client)
    assert train_calls == ["flowers"]


def test_an_s3_source_without_a_key_does_not_stop_other_pipelines(make_client):
    flowers, pets = tick(make_client(FLOWERS_SOURCE="s3://elsewhere/flowers"))
    assert flowers["status"] == "source-unavailable"
    assert "s3-access-key: no readable file" in flowers["message"]
    assert pets["stored"] == 4


def test_a_slow_fetch_that_ends_while_the_next_closes_its_record_stops_nothing(make_client, store, monkeypatch):
    slow = begin(store, "flowers", FetchRecord.new(lease="a nonce"))
    put, closing_writes = store.put, []

    def put_late(key, body, **condition):
        if key == slow.key and not closing_writes:
            closing_writes.append(body)
            slow.end("finished", status="collected")
        return put(key, body, **condition)

    monkeypatch.setattr(store, "put", put_late)
    assert [result["stored"] for result in tick(make_client())] == [1, 4]
    assert json.loads(closing_writes[0])["state"] == "interrupted"
    assert json.loads(store.get(slow.key).body)["state"] == "finished"


@pytest.mark.parametrize(
    ("state", "called"), [(None, []), ("running", []), ("interrupted", ["flowers"]), ("finished", [])]
)
def test_the_record_of_an_ended_training_counts_although_its_lease_is_held(
    make_client, store, train_calls, state, called
):
    client = make_client()
    tick(client)
    acquire(store, keys.lease("flowers", "train"), "train flowers", 60)
    if state is not None:
        execution = begin(store, "flowers", TrainingRecord.new(examples=30))
        if state != "running":
            execution.end(state)
    tick(client)
    assert train_calls == called
