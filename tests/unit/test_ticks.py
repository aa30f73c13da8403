"""One tick over all pipelines: what goes wrong with one, or beside it, keeps no data from the others."""

import json
import logging

import pytest
from flask import Flask

from common.executions import begin
from common.leases import acquire
from fetch_batch.app import create_app
from flowers import draw_folders, flower_rows, write_csv
from train.launch import FIRST


@pytest.fixture
def asked(serve):
    """The pipelines for which train was asked; `url` is the gateway's."""

    class Asked(list):
        url = ""

    gateway, found = Flask(__name__), Asked()

    @gateway.post("/function/train/<name>")
    def train(name):
        found.append(name)
        return {}, 202

    found.url = serve(gateway).url
    return found


@pytest.fixture
def client(make_settings, store, asked, tmp_path):
    """Of flowers a second tick finds the whole source stored, and enough of it to train on; of pets too little."""

    def make(**environment):
        more = {
            "FLOWERS_SOURCE": write_csv(tmp_path / "flowers.csv", flower_rows(30)),
            "PETS_SOURCE": draw_folders(tmp_path / "pets", 2),
            "OPENFAAS_URL": asked.url,
            "SABUESO_TRIGGER": "on",
            "SABUESO_MIN_INTERVAL_S": "0.000001",
        }
        return create_app(make_settings("flowers", "pets", **{**more, **environment}), store).test_client()

    return make


def tick(client):
    answer = client.post("/")
    assert answer.status_code == 200, answer.text
    return answer.json["results"]


def test_a_missing_token_is_told_with_its_path_and_keeps_no_pipeline_from_its_data(client, secrets, asked, caplog):
    caplog.set_level(logging.INFO, "sabueso")
    (secrets / "train-token").unlink()
    client = client()
    assert [result["stored"] for result in tick(client)] == [1, 4]
    flowers, pets = tick(client)
    assert (flowers["status"], pets["status"]) == ("complete", "complete")
    told = f"no readable file {secrets}/train-token"
    assert flowers["training"].startswith("30 examples and no version yet: train was not asked: train-token: ")
    assert told in flowers["training"]
    assert "Make that secret" in flowers["training"]
    log = [record.facts for record in caplog.records if record.message == "asked train"]
    assert [(facts["pipeline"], told in facts["outcome"]) for facts in log] == [("flowers", True)]
    (secrets / "train-token").write_text("the-train-token")
    tick(client)
    assert asked == ["flowers"]


def test_a_source_on_s3_without_a_key_keeps_no_pipeline_from_its_data(client):
    flowers, pets = tick(client(FLOWERS_SOURCE="s3://elsewhere/flowers"))
    assert flowers["status"] == "source-unavailable"
    assert "s3-access-key: no readable file" in flowers["message"]
    assert pets["stored"] == 4


def test_a_fetch_that_ends_its_record_while_the_next_one_closes_it_stops_nothing(client, store, monkeypatch):
    slow = begin(store, "flowers", "fetch-batch", {"status": None, "message": ""})
    put, closings = store.put, []

    def put_late(key, body, **condition):
        if key == slow.key and not closings:
            closings.append(body)
            slow.end("finished", status="collected")
        return put(key, body, **condition)

    monkeypatch.setattr(store, "put", put_late)
    assert [result["stored"] for result in tick(client())] == [1, 4]
    assert json.loads(closings[0])["state"] == "interrupted"
    assert json.loads(store.get(slow.key).body)["state"] == "finished"


@pytest.mark.parametrize(
    ("state", "wanted"), [(None, []), ("running", []), ("interrupted", ["flowers"]), ("finished", [])]
)
def test_a_training_that_has_ended_is_judged_by_its_record_even_before_it_gives_its_lease_back(
    client, store, asked, state, wanted
):
    client = client()
    tick(client)
    acquire(store, "jobs/flowers/train.json", "train flowers", 60)
    if state is not None:
        record = begin(store, "flowers", "train", {**FIRST, "examples": 30})
        if state != "running":
            record.end(state)
    tick(client)
    assert asked == wanted
