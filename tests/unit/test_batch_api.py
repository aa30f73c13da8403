"""The source `batch-api`: ten windows become ten batches, and each sample is stored once."""

import json
import re
import threading

import pytest
import requests
from flask import Flask, Response

from common.storage import keys
from common.storage.dataset import SampleSource
from common.storage.folder import FolderStore
from conftest import together
from fetch_batch.app import create_app
from fetch_batch.sources.batch_api import next_generation
from fetching import deploy_fetch
from flowers import flower_rows, write_csv


@pytest.fixture
def start(make_settings, serve, store, clock):
    return lambda api=None, **environment: deploy_fetch(make_settings, serve, store, clock, api, **environment)


def test_ten_windows_complete_the_collection(start):
    deployment = start()
    assert deployment.fetch_windows(10) == ["collected"] * 10
    status = deployment.status()
    assert (status["complete"], status["missing_batches"], status["samples"]) == (True, [], 19)
    assert [batch["number"] for batch in status["batches"]] == list(range(1, 11))
    assert [batch["samples"] for batch in status["batches"]] == [2] * 9 + [1]
    assert deployment.fetch()["status"] == "complete"
    assert deployment.status()["samples"] == 19
    assert (status["message"], status["lost_answers"]) == ("complete", 0)


def test_a_complete_collection_sends_no_more_requests(start):
    deployment = start()
    deployment.fetch_windows(10)
    deployment.api.stop()
    assert deployment.fetch()["status"] == "complete"


def test_a_sample_is_the_answer_as_received_and_records_its_origin(start):
    deployment = start(SABUESO_SAMPLES_PER_BATCH=1)
    deployment.fetch()
    [(sample, body)] = deployment.dataset().bodies(deployment.dataset().samples())
    [intent] = deployment.dataset().intents()
    assert json.loads(body)["batch_number"] == sample.batch == 1
    assert body.startswith(b'{"group_number":1,"batch_number":1,"data":[[')
    assert (sample.meta.intent, intent.outcome) == (intent.id, "stored")
    assert sample.meta.source == SampleSource(url=deployment.api.url, params={"group_number": "1"})
    assert (sample.meta.rows, len(sample.meta.examples), sample.meta.generation) == (10, 10, 1)
    assert sample.meta.made_up is True
    assert deployment.status()["source"]["made_up"] is True


def test_overlapping_answers_count_each_example_once(start):
    deployment = start(SABUESO_SAMPLES_PER_BATCH=40)
    deployment.fetch()
    assert deployment.status()["samples"] == 40
    assert 90 < deployment.status()["examples"] <= 100


def test_concurrent_fetches_of_two_replicas_store_no_sample_twice(make_settings, serve, store, clock):
    results, three_answered = [], threading.Event()

    def serve_after_three_answers(api):
        @api.before_request
        def wait():
            three_answered.wait(60)

        return serve(api)

    deployment = deploy_fetch(make_settings, serve_after_three_answers, store, clock, SABUESO_SOURCE_TIMEOUT_S=60)
    urls = [serve(app).url for app in (deployment.app, create_app(deployment.settings, FolderStore(store.root)))]

    def post(url):
        results.append(requests.post(f"{url}/covertype", timeout=120).json()["results"][0])
        if len(results) == 3:
            three_answered.set()

    together(*[lambda url=url: post(url) for url in urls * 2])
    assert [result["status"] for result in results] == ["too-soon"] * 3 + ["collected"]
    refused = re.compile(r"another fetch has (been running since 2\d{3}-[\dT:.-]+Z|just started)")
    assert all(refused.fullmatch(result["message"]) for result in results[:3])
    assert sum(result["stored"] for result in results) == len(deployment.dataset().samples()) == 2
    assert len(deployment.dataset().intents()) == 2


def test_a_fetch_too_soon_after_another_sends_no_request(start):
    deployment = start(SABUESO_MIN_INTERVAL_S=60)
    assert [deployment.fetch()["status"] for _ in range(3)] == ["collected", "too-soon", "too-soon"]
    assert len(deployment.dataset().intents()) == 2
    assert "more" in deployment.fetch()["message"]


def test_a_restarted_source_begins_a_new_generation(start):
    deployment = start(SABUESO_SAMPLES_PER_BATCH=1)
    deployment.fetch_windows(3)
    requests.get(f"{deployment.api.url}/restart_data_generation?group_number=1", timeout=30)
    deployment.clock.now += 300
    for _ in range(2):
        deployment.fetch()
        deployment.clock.now += 300
    batches = sorted((sample.meta.generation, sample.batch) for sample in deployment.dataset().samples())
    assert batches == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]


@pytest.mark.parametrize(
    ("seen", "number", "generation"),
    [([], 1, 1), ([], 7, 1), ([(1, 1), (1, 3)], 3, 1), ([(1, 3)], 2, 2), ([(1, 9), (2, 1)], 2, 2), ([(2, 5)], 1, 3)],
)
def test_the_generation_grows_when_batch_numbers_go_back(seen, number, generation):
    assert next_generation(seen, number) == generation


def test_a_full_window_gets_one_request_at_most(start):
    deployment = start()
    assert deployment.fetch()["stored"] == 2
    assert deployment.fetch()["stored"] <= 1  # one request shows which window is open
    assert deployment.status()["samples"] <= 3


def test_a_group_without_data_ends_complete_and_says_so(start):
    deployment = start(COVERTYPE_GROUP=10)
    statuses = deployment.fetch_windows(11)
    assert set(statuses[:4]) == {"source-unavailable"}
    assert statuses[-1] == "complete"
    status = deployment.status()
    assert (status["complete"], status["samples"], status["examples"]) == (True, 0, 0)
    assert "never gave any data" in status["message"]
    assert status["missing_batches"] == list(range(1, 11))
    assert status["failures"][0]["detail"] == "it answered 500"


def test_an_unknown_group_is_reported_and_can_be_corrected(start):
    deployment = start(COVERTYPE_GROUP=11)
    result = deployment.fetch()
    assert result["status"] == "source-unavailable"
    assert "400: Número de grupo inválido" in result["message"]
    assert deployment.status()["complete"] is False
    assert start(COVERTYPE_GROUP=1).fetch()["status"] == "collected"


@pytest.mark.parametrize("accent", ["minima", "mínima"])
def test_the_end_of_a_source_is_recognised_with_and_without_accent(make_settings, serve, store, accent):
    source = Flask(__name__)
    message = f'{{"detail": "Ya se recolectó toda la información {accent} necesaria"}}'
    source.add_url_rule("/data", view_func=lambda: Response(message, 400, mimetype="application/json"))
    settings = make_settings("covertype", COVERTYPE_API_URL=serve(source).url, SABUESO_MIN_INTERVAL_S="0.001")
    client = create_app(settings, store).test_client()
    result = client.post("/covertype").json["results"][0]
    assert result["status"] == "complete"
    assert accent in result["message"]
    assert client.get("/covertype").json["complete"] is True


@pytest.mark.parametrize("windows", [1, 10])
@pytest.mark.parametrize("change", [{"COVERTYPE_GROUP": 2}, {}], ids=["group", "url"])
def test_a_changed_source_is_refused_with_advice(start, windows, change):
    deployment = start()
    deployment.fetch_windows(windows)
    before = deployment.status()["samples"]
    other = start(**change, **({"COVERTYPE_API_URL": deployment.api.url} if change else {}))
    answer = other.client.post("/covertype")
    assert (answer.status_code, answer.json["type"]) == (409, "urn:sabueso:problem:source-changed")
    assert deployment.api.url in answer.json["detail"]
    assert "use another SABUESO_STORE" in answer.json["detail"]
    assert "move datasets/covertype/ away" in answer.json["detail"]
    assert other.status()["samples"] == before
    results = other.client.post("/").json["results"]
    assert [result["status"] for result in results] == ["source-unavailable"]


def test_real_rows_are_not_mixed_with_made_up_rows(start):
    deployment = start()
    deployment.fetch()
    real = start(api={"made_up": False})
    stored = deployment.dataset().source()
    deployment.store.put(keys.source("covertype"), stored.model_copy(update={"location": real.api.url}).encode())
    answer = real.client.post("/covertype")
    assert (answer.status_code, answer.json["type"]) == (409, "urn:sabueso:problem:source-changed")
    assert "(made-up data)" in answer.json["detail"]
    assert (real.status()["samples"], real.status()["lost_answers"]) == (2, 0)


def test_a_missing_variable_of_a_source_is_named(make_settings, store):
    client = create_app(make_settings("covertype"), store).test_client()
    result = client.post("/covertype").json["results"][0]
    assert result["status"] == "source-unavailable"
    assert "COVERTYPE_API_URL" in result["message"]


def test_a_source_that_is_down_does_not_stop_other_pipelines(make_settings, store, tmp_path):
    table = write_csv(tmp_path / "flowers.csv", flower_rows(30))
    settings = make_settings("covertype", "flowers", COVERTYPE_API_URL="http://127.0.0.1:9", FLOWERS_SOURCE=table)
    results = create_app(settings, store).test_client().post("/").json["results"]
    assert {result["pipeline"]: result["status"] for result in results} == {
        "covertype": "source-unavailable",
        "flowers": "collected",
    }


def test_a_fetch_that_runs_out_of_time_leaves_the_collection_incomplete(start):
    deployment = start(SABUESO_FETCH_S="0.5")
    result = deployment.fetch()
    assert (result["status"], result["stored"]) == ("collected", 0)
    assert "the next call continues" in result["message"]
    assert deployment.status()["complete"] is False
