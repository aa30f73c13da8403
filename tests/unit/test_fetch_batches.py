"""fetch-batch and a batch-api: ten windows become ten batches, each sample once."""

import json
import threading

import pytest
import requests
from flask import Flask, Response

from common.objects import FolderObjects
from conftest import together
from fetch_batch.app import create_app
from fetch_batch.batch_api import next_generation
from fetching import fetching
from flowers import flower_rows, write_csv


@pytest.fixture
def begin(make_settings, serve, store, clock):
    return lambda api=None, **environment: fetching(make_settings, serve, store, clock, api, **environment)


def test_ten_windows_of_a_group_end_complete(begin):
    demo = begin()
    assert demo.windows(10) == ["collected"] * 10
    status = demo.status()
    assert (status["complete"], status["missing_batches"], status["samples"]) == (True, [], 19)
    assert [batch["number"] for batch in status["batches"]] == list(range(1, 11))
    assert [batch["samples"] for batch in status["batches"]] == [2] * 9 + [1]
    assert demo.fetch()["status"] == "complete"
    assert demo.status()["samples"] == 19
    assert (status["message"], status["lost_answers"]) == ("complete", 0)


def test_a_complete_collection_asks_the_source_no_more(begin):
    demo = begin()
    demo.windows(10)
    demo.api.stop()
    assert demo.fetch()["status"] == "complete"


def test_a_sample_is_the_answer_as_received_with_all_that_led_to_it(begin):
    demo = begin(SABUESO_SAMPLES_PER_BATCH=1)
    demo.fetch()
    [(sample, body)] = demo.dataset().bodies(demo.dataset().samples())
    [intent] = demo.dataset().intents()
    assert json.loads(body)["batch_number"] == sample.batch == 1
    assert body.startswith(b'{"group_number":1,"batch_number":1,"data":[[')
    assert (sample.meta["intent"], intent["outcome"]) == (intent["id"], "stored")
    assert sample.meta["source"] == {"url": demo.api.url, "params": {"group_number": "1"}}
    assert (sample.meta["rows"], len(sample.meta["examples"]), sample.meta["generation"]) == (10, 10, 1)
    assert sample.meta["made_up"] is True
    assert demo.status()["source"]["made_up"] is True


def test_overlapping_answers_count_each_example_once(begin):
    demo = begin(SABUESO_SAMPLES_PER_BATCH=40)
    demo.fetch()
    assert demo.status()["samples"] == 40
    assert 90 < demo.status()["examples"] <= 100


def test_fetches_posted_at_once_to_two_replicas_store_no_sample_twice(make_settings, serve, store, clock):
    results, three_answered = [], threading.Event()

    def serve_held(api):
        @api.before_request
        def hold():
            three_answered.wait(60)

        return serve(api)

    demo = fetching(make_settings, serve_held, store, clock, SABUESO_SOURCE_TIMEOUT_S=60)
    urls = [serve(app).url for app in (demo.app, create_app(demo.settings, FolderObjects(store.root)))]

    def post(url):
        results.append(requests.post(f"{url}/covertype", timeout=120).json()["results"][0])
        if len(results) == 3:
            three_answered.set()

    together(*[lambda url=url: post(url) for url in urls * 2])
    assert [result["status"] for result in results] == ["too-soon"] * 3 + ["collected"]
    assert all("another fetch is at it" in result["message"] for result in results[:3])
    assert sum(result["stored"] for result in results) == len(demo.dataset().samples()) == 2
    assert len(demo.dataset().intents()) == 2


def test_a_fetch_too_soon_after_another_asks_nothing(begin):
    demo = begin(SABUESO_MIN_INTERVAL_S=60)
    assert [demo.fetch()["status"] for _ in range(3)] == ["collected", "too-soon", "too-soon"]
    assert len(demo.dataset().intents()) == 2
    assert "more" in demo.fetch()["message"]


def test_a_source_that_starts_over_begins_a_new_generation(begin):
    demo = begin(SABUESO_SAMPLES_PER_BATCH=1)
    demo.windows(3)
    requests.get(f"{demo.api.url}/restart_data_generation?group_number=1", timeout=30)
    demo.clock.now += 300
    for _ in range(2):
        demo.fetch()
        demo.clock.now += 300
    found = sorted((sample.meta["generation"], sample.batch) for sample in demo.dataset().samples())
    assert found == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]


@pytest.mark.parametrize(
    ("seen", "number", "generation"),
    [([], 1, 1), ([], 7, 1), ([(1, 1), (1, 3)], 3, 1), ([(1, 3)], 2, 2), ([(1, 9), (2, 1)], 2, 2), ([(2, 5)], 1, 3)],
)
def test_a_generation_grows_when_numbers_go_back(seen, number, generation):
    assert next_generation(seen, number) == generation


def test_a_window_that_is_full_is_not_asked_again(begin):
    demo = begin()
    assert demo.fetch()["stored"] == 2
    assert demo.fetch()["stored"] <= 1  # one request tells which window is open
    assert demo.status()["samples"] <= 3


def test_group_ten_ends_complete_with_nothing_and_says_so(begin):
    demo = begin(COVERTYPE_GROUP=10)
    statuses = demo.windows(11)
    assert set(statuses[:4]) == {"source-unavailable"}
    assert statuses[-1] == "complete"
    status = demo.status()
    assert (status["complete"], status["samples"], status["examples"]) == (True, 0, 0)
    assert "never gave any data" in status["message"]
    assert status["missing_batches"] == list(range(1, 11))
    assert status["failures"][0]["detail"] == "it answered 500"


def test_a_group_that_does_not_exist_is_told_and_can_be_set_right(begin):
    demo = begin(COVERTYPE_GROUP=11)
    result = demo.fetch()
    assert result["status"] == "source-unavailable"
    assert "400: Número de grupo inválido" in result["message"]
    assert demo.status()["complete"] is False
    assert begin(COVERTYPE_GROUP=1).fetch()["status"] == "collected"


@pytest.mark.parametrize("accent", ["minima", "mínima"])
def test_the_source_s_last_word_is_understood_with_and_without_accent(make_settings, serve, store, accent):
    source = Flask(__name__)
    told = f'{{"detail": "Ya se recolectó toda la información {accent} necesaria"}}'
    source.add_url_rule("/data", view_func=lambda: Response(told, 400, mimetype="application/json"))
    settings = make_settings("covertype", COVERTYPE_API_URL=serve(source).url, SABUESO_MIN_INTERVAL_S="0.001")
    client = create_app(settings, store).test_client()
    result = client.post("/covertype").json["results"][0]
    assert result["status"] == "complete"
    assert accent in result["message"]
    assert client.get("/covertype").json["complete"] is True


@pytest.mark.parametrize("windows", [1, 10])
@pytest.mark.parametrize("change", [{"COVERTYPE_GROUP": 2}, {}], ids=["group", "url"])
def test_another_source_is_refused_with_what_to_do(begin, windows, change):
    demo = begin()
    demo.windows(windows)
    before = demo.status()["samples"]
    other = begin(**change, **({"COVERTYPE_API_URL": demo.api.url} if change else {}))
    answer = other.client.post("/covertype")
    assert (answer.status_code, answer.json["type"]) == (409, "urn:sabueso:problem:source-changed")
    assert demo.api.url in answer.json["detail"]
    assert "use another SABUESO_STORE" in answer.json["detail"]
    assert "move datasets/covertype/ away" in answer.json["detail"]
    assert other.status()["samples"] == before
    all_of_them = other.client.post("/").json["results"]
    assert [result["status"] for result in all_of_them] == ["source-unavailable"]


def test_real_rows_are_not_mixed_into_made_up_ones(begin):
    demo = begin()
    demo.fetch()
    real = begin(api={"made_up": False})
    stored = demo.dataset().source()
    demo.store.put("datasets/covertype/source.json", json.dumps({**stored, "location": real.api.url}).encode())
    answer = real.client.post("/covertype")
    assert (answer.status_code, answer.json["type"]) == (409, "urn:sabueso:problem:source-changed")
    assert "(made-up data)" in answer.json["detail"]
    assert (real.status()["samples"], real.status()["lost_answers"]) == (2, 0)


def test_a_source_without_its_variable_is_told(make_settings, store):
    client = create_app(make_settings("covertype"), store).test_client()
    result = client.post("/covertype").json["results"][0]
    assert result["status"] == "source-unavailable"
    assert "COVERTYPE_API_URL" in result["message"]


def test_one_source_that_is_down_keeps_no_other_pipeline_from_its_data(make_settings, store, tmp_path):
    table = write_csv(tmp_path / "flowers.csv", flower_rows(30))
    settings = make_settings("covertype", "flowers", COVERTYPE_API_URL="http://127.0.0.1:9", FLOWERS_SOURCE=table)
    results = create_app(settings, store).test_client().post("/").json["results"]
    assert {result["pipeline"]: result["status"] for result in results} == {
        "covertype": "source-unavailable",
        "flowers": "collected",
    }


def test_a_call_whose_time_is_over_does_not_call_the_collection_complete(begin):
    demo = begin(SABUESO_FETCH_S="0.5")
    result = demo.fetch()
    assert (result["status"], result["stored"]) == ("collected", 0)
    assert "the next goes on" in result["message"]
    assert demo.status()["complete"] is False
