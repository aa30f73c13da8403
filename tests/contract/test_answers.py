"""Every answer of the three functions follows its JSON Schema, and every error is a problem document."""

import json

import jsonschema
import pytest
from flask import Flask, request

from classify.app import create_app as create_classify
from common.openapi import schemas
from common.storage import keys
from common.storage.executions import begin
from common.storage.leases import acquire
from common.storage.training_record import TrainingRecord
from conftest import TOKEN, wait_until
from fetch_batch.app import create_app as create_fetch
from flowers import as_record, draw, encode, flower_rows, write_csv
from serving import ROW, start, validate_problem
from shapes import OTHERS, validate
from train.app import create_app as create_train

APPS = {"fetch-batch": create_fetch, "train": create_train, "classify": create_classify}


@pytest.fixture
def client(make_settings):
    """client(NAME): a function's test client, with nothing collected and nothing trained."""

    def make(name, **environment):
        settings = make_settings("flowers", "pets", **environment)
        return start(settings).client if name == "classify" else APPS[name](settings).test_client()

    return make


def ok(answer, schema, status=200):
    assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
    validate(answer.json, schema)
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    return answer.json


def routes(app):
    """(path, method) of every call of this function."""
    return {
        (rule.rule.replace("<name>", "{pipeline}"), method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def test_every_schema_is_valid_and_has_a_description():
    for name, schema in {**schemas(), **{file.stem: json.loads(file.read_text()) for file in OTHERS.glob("*")}}.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["title"] == name
        assert schema["description"]


def test_fetch_batch_follows_its_schemas(client, tmp_path):
    bad = [["high", "small", "1", "red", "sun"]]
    table = write_csv(tmp_path / "flowers.csv", [*flower_rows(30), *bad])
    fetch = client("fetch-batch", FLOWERS_SOURCE=table)
    ok(fetch.get("/flowers"), "fetch_status")
    results = ok(fetch.post("/"), "fetch_results")["results"]
    assert [(one["pipeline"], one["status"]) for one in results] == [
        ("flowers", "collected"),
        ("pets", "source-unavailable"),
    ]
    assert ok(fetch.post("/flowers"), "fetch_results")["results"][0]["status"] == "too-soon"
    status = ok(fetch.get("/flowers"), "fetch_status")
    assert (status["samples"], status["quarantine"]["rows"], len(status["executions"])) == (1, 1, 1)


def test_the_cron_connector_s_empty_body_is_accepted_with_any_content_type(client, tmp_path):
    table = write_csv(tmp_path / "flowers.csv", flower_rows(30))
    fetch = client("fetch-batch", FLOWERS_SOURCE=table)
    for content_type in (None, "text/plain", "application/json"):
        ok(fetch.post("/", data=b"", content_type=content_type), "fetch_results")


def test_fetch_batch_reports_its_call_of_train(client, make_settings, serve, tmp_path):
    calls = []
    gateway = Flask(__name__)

    @gateway.post("/function/train/<name>")
    def train(name):
        calls.append((name, request.headers["Authorization"], request.json))
        return {}, 202

    table = write_csv(tmp_path / "flowers.csv", flower_rows(30))
    environment = {"FLOWERS_SOURCE": table, "SABUESO_TRIGGER": "on", "OPENFAAS_URL": serve(gateway).url}
    fetch = client("fetch-batch", **environment, SABUESO_MIN_INTERVAL_S="0.000001")
    [first] = ok(fetch.post("/flowers"), "fetch_results")["results"]
    [second] = ok(fetch.post("/flowers"), "fetch_results")["results"]
    assert (first["status"], first["training"]) == ("collected", None)
    assert (second["status"], second["training"]) == ("complete", "30 examples and no version yet: train answered 202")
    assert calls == [("flowers", TOKEN["Authorization"], {"force": False})]


def test_train_is_idle_before_its_first_training(client):
    body = ok(client("train").get("/flowers"), "train_status")
    assert (body["state"], body["id"], body["progress"], body["history"]) == ("idle", None, 0, [])


def test_train_shows_running_and_finished_executions(client, store):
    record = TrainingRecord.new(progress=0.25, stage="epoch 3 of 9", examples=90)
    execution = begin(store, "flowers", record)
    train = client("train")
    body = ok(train.get("/flowers"), "train_status")
    assert (body["state"], body["progress"], body["stage"]) == ("running", 0.25, "epoch 3 of 9")
    execution.end("finished", decision="promoted", version="1", metrics={"accuracy": 0.9}, progress=1.0)
    body = ok(train.get("/flowers"), "train_status")
    assert (body["state"], body["decision"], body["version"]) == ("finished", "promoted", "1")
    assert body["history"][0]["id"] == body["id"] == record.id
    assert train.get("/pets").json["state"] == "idle"


def test_a_training_without_examples_is_accepted_and_fails_with_a_reason(client):
    train = client("train")
    accepted = ok(train.post("/flowers", headers=TOKEN), "train_accepted", 202)
    wait_until(lambda: train.get("/flowers").json["state"] != "running", 60)
    body = ok(train.get("/flowers"), "train_status")
    assert (body["id"], body["state"]) == (accepted["id"], "failed")
    assert "too few examples (0)" in body["reason"]


def test_a_second_training_is_refused_naming_the_running_one(client, store):
    acquire(store, keys.lease("flowers", "train"), "train flowers", 60)
    execution = begin(store, "flowers", TrainingRecord.new(progress=0.5, stage="epoch 1 of 2"))
    train = client("train")
    body = validate_problem(train.post("/flowers", headers=TOKEN), 409, "already-running")
    assert execution.record.id in body["detail"]
    for path, sent in (("promote", {"version": 1}), ("rollback", {})):
        validate_problem(train.post(f"/flowers/{path}", json=sent, headers=TOKEN), 409, "already-running")


@pytest.mark.parametrize("path", ["flowers", "flowers/cancel", "flowers/promote", "flowers/rollback", "roses"])
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "the-train-token"}])
def test_without_its_token_train_does_nothing(client, store, path, header):
    answer = client("train").post(f"/{path}", headers=header)
    validate_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "the-train-token" not in answer.text
    assert list(store.list("jobs/")) == []


def test_a_doubled_slash_is_404_and_no_redirect(client):
    validate_problem(client("train").post("/flowers//cancel", headers=TOKEN), 404, "not-found")


def test_promote_and_rollback_move_the_alias_and_are_recorded(make_settings, mlflow, serve, bundles, store):
    mlflow.register("flowers", "2", bundles / "flowers", champion=False)
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    train = create_train(settings, store).test_client()
    body = ok(train.post("/flowers/promote", json={"version": 2}, headers=TOKEN), "alias_moved")
    assert (body["champion"], body["previous"], mlflow.aliases["flowers", "champion"]) == ("2", "1", "2")
    body = ok(train.post("/flowers/rollback", headers=TOKEN), "alias_moved")
    assert (body["champion"], body["previous"], mlflow.aliases["flowers", "champion"]) == ("1", "2", "1")
    assert mlflow.versions["flowers", "2"]["sabueso.rejected"] == "true"
    validate_problem(train.post("/flowers/promote", json={"version": 9}, headers=TOKEN), 404, "not-found")
    assert len(list(store.list("jobs/flowers/runs/"))) == 2


def test_a_version_with_a_bad_bundle_is_not_promoted(make_settings, mlflow, serve, bundles, store):
    folder = mlflow.register("flowers", "2", bundles / "flowers", champion=False)
    (folder / "network.tflite").write_bytes(b"something else")
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    answer = create_train(settings, store).test_client().post("/flowers/promote", json={"version": 2}, headers=TOKEN)
    validate_problem(answer, 422, "unusable")
    assert mlflow.aliases["flowers", "champion"] == "1"


def test_classify_without_a_model_answers_503(client):
    classify = client("classify")
    body = ok(classify.get("/"), "classify_index")
    assert [(one["name"], one["ready"], one["version"]) for one in body["pipelines"]] == [
        ("flowers", False, None),
        ("pets", False, None),
    ]
    for answer in (classify.get("/flowers"), classify.post("/flowers", json=ROW)):
        validate_problem(answer, 503, "no-model")
        assert int(answer.headers["Retry-After"]) > 0


def test_classify_follows_its_schemas(serving):
    classify = serving.client
    assert [one["version"] for one in ok(classify.get("/"), "classify_index")["pipelines"]] == ["1", "1"]
    for name in ("flowers", "pets"):
        card = ok(classify.get(f"/{name}"), "model_card")
        assert (card["pipeline"], card["model"]["version"]) == (name, "1")
    rows = classify.get("/flowers").json["input"]["schema"]
    properties = {name: one | {"title": name} for name, one in rows["properties"].items()}  # ours are in two languages
    jsonschema.Draft202012Validator.check_schema(rows | {"properties": properties})
    assert rows["additionalProperties"] is False
    ok(classify.post("/flowers", json=[as_record(row) for row in flower_rows(9)]), "predictions")
    ok(classify.post("/pets", data=encode(draw("cat", 1)), content_type="image/png"), "predictions")


def test_a_bundle_s_contract_follows_its_schema(bundles):
    for name in ("flowers", "pets"):
        validate(json.loads((bundles / name / "contract.json").read_text()), "bundle_contract")


@pytest.mark.parametrize("name", APPS)
class TestEveryFunction:
    def test_an_unknown_pipeline_is_404_naming_the_known_ones(self, client, name):
        method = {"fetch-batch": "POST", "train": "GET", "classify": "POST"}[name]
        body = validate_problem(client(name).open("/roses", method=method), 404, "not-found")
        assert "flowers, pets" in body["detail"]

    def test_an_unknown_path_is_404(self, client, name):
        validate_problem(client(name).get("/flowers/petals/all"), 404, "not-found")

    def test_a_wrong_method_is_405_naming_the_allowed_ones(self, client, name):
        for path, method in (("/flowers", "DELETE"), ("/openapi.json", "PUT")):
            answer = client(name).open(path, method=method)
            validate_problem(answer, 405, "method-not-allowed")
            assert "GET" in answer.headers["Allow"]

    def test_the_paths_of_every_function_are_not_names_of_pipelines(self, client, name):
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert set(client(name).options(path).headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
            validate_problem(client(name).post(path, headers=TOKEN), 405, "method-not-allowed")

    def test_health_readiness_and_metrics_answer(self, client, name):
        app = client(name)
        assert app.get("/healthz").json == {"status": "ok"}
        wait_until(lambda: app.get("/readyz").status_code == 200)
        app.get("/flowers")
        counted = f'sabueso_http_requests_total{{function="{name}",method="GET",route="/healthz",status="200"}}'
        assert counted in app.get("/metrics").text

    def test_openapi_json_has_every_call(self, client, name):
        app = client(name)
        document = app.get("/openapi.json").json
        assert document["openapi"].startswith("3.1")
        described = set()
        for path, calls in document["paths"].items():
            for method in calls.keys() - {"parameters"}:
                described.add((path, method.upper()))
        assert described == routes(app.application)

    def test_openapi_json_has_the_errors_that_every_call_may_get(self, client, name):
        for path, calls in client(name).get("/openapi.json").json["paths"].items():
            if path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
                continue
            for method in calls.keys() - {"parameters"}:
                expected = {"503", "400", "413"} if method == "post" else {"503"}
                assert expected <= calls[method]["responses"].keys(), (path, method)

    def test_a_client_can_t_set_the_request_id(self, client, name):
        answer = client(name).get("/healthz", headers={"X-Request-Id": "mine", "X-Call-Id": "mine"})
        assert answer.headers["X-Request-Id"] != "mine"

    def test_every_answer_forbids_content_sniffing(self, client, name):
        for path in ("/healthz", "/roses", "/openapi.json"):
            assert client(name).get(path).headers["X-Content-Type-Options"] == "nosniff"
