"""The whole way on real servers, and each of them failing in the middle of it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import mlflow
import pytest
import requests
from flask import Flask, Response
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from mlflow.entities import LoggedModelStatus

from backup_site import Site
from common.registry import Registry
from conftest import Served, wait_until
from deployed import Deployed
from local.data_api import create_data_api
from local.made_up_rows import made_up_rows

pytestmark = pytest.mark.integration

WINDOW_S = 0.2


class Source:
    """The data API, with every body it gave out and a hook that runs before an answer leaves."""

    def __init__(self) -> None:
        rows = made_up_rows(20_000)
        inner = create_data_api(rows, window_s=WINDOW_S, mode="per-batch", made_up=True).test_client()
        self.given: list[bytes] = []
        self.before_answer: Callable[[], Any] = lambda: None
        self.app = Flask("source")

        @self.app.get("/data")
        def data() -> Response:
            answer = inner.get("/data?group_number=1")
            if answer.status_code == 200:
                self.given.append(answer.data)
            self.before_answer()
            return Response(answer.data, answer.status_code, dict(answer.headers))


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    found = Source()
    served = Served(found.app)
    found.url = served.url  # type: ignore[attr-defined]
    yield found
    served.stop()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, source: Source) -> Iterator[Deployed]:
    """Running servers and functions; the tests of this file run in their order, on one growing system."""
    found = Deployed(tmp_path_factory.mktemp("deployed"), COVERTYPE_API_URL=source.url)  # type: ignore[attr-defined]
    try:
        yield found.start()
    finally:
        found.stop()


def samples(deployed: Deployed) -> dict[str, bytes]:
    """Every committed sample's body by its key."""
    with closing(deployed.store()) as store:
        keys = [key for key in store.list("datasets/covertype/samples/") if not key.endswith(".meta.json")]
        return {key: store.get(key).body for key in keys}  # type: ignore[union-attr]


def versions(deployed: Deployed) -> list[dict[str, Any]]:
    return Registry(deployed.settings("train")).versions("covertype")


def row_of(deployed: Deployed) -> dict[str, Any]:
    card = deployed.get("classify/covertype")
    return {name: one["examples"][0] for name, one in card["input"]["schema"]["properties"].items()}


def classify(deployed: Deployed, row: dict[str, Any]) -> requests.Response:
    return requests.post(deployed.url("classify/covertype"), json=row, timeout=30)


def as_train(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """MLflow's own client with the account of train."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "train")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", (deployed.secrets / "train-mlflow-password").read_text())
    return mlflow.MlflowClient(deployed.mlflow.url)


def test_a_wrong_key_is_told_and_a_right_one_counts_at_once(deployed: Deployed, source: Source) -> None:
    assert deployed.fetch()["status"] == "collected"
    secret = deployed.secrets / "fetch-batch-s3-secret-key"
    right = secret.read_text()
    secret.write_text("a key that was taken back")
    given = len(source.given)
    answer = deployed.ask_fetch()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "SignatureDoesNotMatch" in answer.json()["detail"]
    assert "Check the secrets" in answer.json()["detail"]
    assert "taken back" not in answer.text + deployed.functions["fetch-batch"].log.read_text()
    assert len(source.given) == given
    secret.write_text(right)
    assert deployed.fetch()["status"] == "collected"


def test_a_refused_write_keeps_the_answer_until_the_policy_lets_it_pass(deployed: Deployed, source: Source) -> None:
    root = StaticProvider(deployed.minio.access_key, deployed.minio.secret_key)
    admin = MinioAdmin(endpoint=deployed.minio.url.removeprefix("http://"), credentials=root, secure=False)
    may = json.loads(admin.policy_info("fetch-batch"))
    may = may.get("Policy", may)
    samples_alone = {"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::sabueso/*/samples/*"]}
    admin.policy_add("fetch-batch", policy={**may, "Statement": [*may["Statement"], samples_alone]})
    given = len(source.given)
    for _ in range(2):
        answer = deployed.ask_fetch()
        assert answer.status_code == 503
        assert "AccessDenied" in answer.json()["detail"]
        assert "what that key may do" in answer.json()["detail"]
    assert len(source.given) == given + 1
    status = deployed.get("fetch-batch/covertype")
    assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
    admin.policy_add("fetch-batch", policy=may)
    deployed.fetch()
    assert source.given[given] in samples(deployed).values()


def test_minio_stopped_in_the_middle_of_a_collection_loses_and_doubles_nothing(
    deployed: Deployed, source: Source
) -> None:
    source.before_answer = lambda: deployed.minio.stop(signal.SIGKILL)
    answer = deployed.ask_fetch()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "s3://sabueso" in answer.json()["detail"]
    assert "Start it" in answer.json()["detail"]
    source.before_answer = lambda: None
    given = len(source.given)
    assert deployed.post("fetch-batch/covertype").status_code == 503
    assert requests.get(deployed.url("fetch-batch/covertype"), timeout=60).status_code == 503
    assert len(source.given) == given  # the source is not asked while its answer could not be stored
    deployed.minio.start()
    status = deployed.get("fetch-batch/covertype")
    assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
    status = deployed.collect()
    assert (status["waiting_answers"], status["lost_answers"], status["missing_batches"]) == (0, 0, [])
    stored = samples(deployed)
    assert sorted(stored.values()) == sorted(set(source.given))
    assert all(key.endswith(hashlib.sha256(body).hexdigest()) for key, body in stored.items())


def test_the_whole_way_on_real_servers(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    record = deployed.wait_for_end(deployed.train(force=False))
    assert (record["state"], record["decision"], record["version"]) == ("finished", "promoted", "1")
    card = deployed.wait_for("classify/covertype", lambda one: one["model"]["version"] == "1", "served version 1")
    assert card["snapshot"] == record["snapshot"]
    answer = classify(deployed, row_of(deployed))
    assert (answer.status_code, answer.json()["model"]["version"]) == (200, "1")
    run = as_train(deployed, monkeypatch).get_run(record["run_id"])
    assert run.info.status == "FINISHED"
    assert run.inputs.dataset_inputs[0].dataset.digest == record["snapshot"][:32]
    assert deployed.wait_for_end(deployed.train(force=False))["decision"] == "skipped"


def test_mysql_stopped_during_a_training_costs_no_metric_and_makes_no_second_version(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(versions(deployed))
    identity = deployed.train()
    deployed.wait_for("train/covertype", lambda one: one["stage"].startswith("epoch"), "fitted")
    deployed.mysql.stop()
    epochs = {0}

    def waits(one: Any) -> bool:
        epochs.update(int(number) for number in re.findall(r"epoch (\d+) of", one["stage"]))
        return "its database does not answer" in one["reason"]

    deployed.wait_for("train/covertype", waits, "said it waits")
    assert deployed.get("train/covertype")["state"] == "running"
    deployed.mysql.start()
    record = deployed.wait_for_end(identity)
    assert record["state"] == "finished", record["reason"]
    assert "waiting" not in record["reason"]
    assert len(versions(deployed)) == before + 1
    client = as_train(deployed, monkeypatch)
    steps = [one.step for one in client.get_metric_history(record["run_id"], "tune_accuracy")]
    assert "metrics are kept for later" in deployed.job_log()
    assert sorted(steps) == list(range(1, len(steps) + 1))
    assert len(steps) >= max(epochs) >= 1


def test_minio_stopped_in_the_middle_of_an_artifact_upload_leaves_one_whole_version(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(versions(deployed))
    identity = deployed.train()
    deployed.wait_for("train/covertype", lambda one: one["stage"] == "registering", "registered", 240)
    deployed.minio.stop(signal.SIGKILL)
    wait_until(lambda: "can't be used" in deployed.job_log(), 60)
    deployed.minio.start()
    record = deployed.wait_for_end(identity)
    assert record["state"] == "finished", record["reason"]
    assert len(versions(deployed)) == before + 1
    client = as_train(deployed, monkeypatch)
    experiment = client.get_run(record["run_id"]).info.experiment_id
    models = client.search_logged_models([experiment], filter_string=f"source_run_id = '{record['run_id']}'")
    assert [one.status for one in models] == [LoggedModelStatus.READY]
    assert deployed.post("train/covertype/promote", {"version": int(record["version"])}).status_code == 200
    deployed.wait_for(
        "classify/covertype", lambda one: one["model"]["version"] == record["version"], "served the new version"
    )


def test_a_job_that_gives_up_waiting_is_taken_up_without_fitting_again(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = deployed.functions["train"]
    train.stop()
    patient = train.environment.get("SABUESO_PATIENCE_S", "")
    train.environment["SABUESO_PATIENCE_S"] = "1"
    train.start()
    before = len(versions(deployed))
    identity = deployed.train()
    deployed.wait_for("train/covertype", lambda one: one["stage"] == "exporting", "exported", 240)
    deployed.mlflow.stop()
    record = deployed.wait_for_end(identity)
    assert (record["state"], record["decision"]) == ("interrupted", None)
    assert "MLflow" in record["reason"]
    deployed.mlflow.start()
    again = deployed.wait_for_end(deployed.train(force=False))
    assert (again["state"], again["resumed_from"]) == ("finished", identity)
    assert again["run_id"] == record["run_id"]
    assert len(versions(deployed)) == before + 1
    steps = [one.step for one in as_train(deployed, monkeypatch).get_metric_history(again["run_id"], "tune_accuracy")]
    assert sorted(steps) == list(range(1, len(steps) + 1))  # no epoch was done twice
    train.stop()
    train.environment["SABUESO_PATIENCE_S"] = patient
    train.start()


def test_mlflow_restarted_under_classify_is_not_felt_by_those_who_ask(deployed: Deployed) -> None:
    row = row_of(deployed)
    now = deployed.get("classify/covertype")["model"]["version"]
    deployed.mlflow.stop()
    deployed.wait_for("classify/covertype", lambda one: one["stale_since"], "said that it may be stale")
    assert classify(deployed, row).json()["model"]["version"] == now
    replica = deployed.functions["classify"]
    replica.stop()
    replica.start()
    assert classify(deployed, row).json()["model"]["version"] == now  # from the scratch folder
    deployed.mlflow.start()
    deployed.wait_for("classify/covertype", lambda one: one["stale_since"] is None, "was up to date again")
    other = next(one["version"] for one in versions(deployed) if one["version"] != now)
    assert deployed.post("train/covertype/promote", {"version": int(other)}).status_code == 200
    deployed.wait_for("classify/covertype", lambda one: one["model"]["version"] == other, "served the other version")


def altered(bundle: dict[str, bytes], how: str) -> dict[str, bytes]:
    contract = json.loads(bundle["contract.json"])
    if how == "network":
        return {"network.tflite": bundle["network.tflite"][:-1] + b"?"}
    if how == "contract":
        return {"contract.json": json.dumps({**contract, "labels": contract["labels"][::-1]}).encode()}
    del contract["hmac"]
    return {"contract.json": json.dumps(contract).encode()}


@pytest.mark.parametrize("how", ["network", "contract", "unsigned"])
def test_a_tampered_bundle_is_refused_and_the_old_one_stays(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    row = row_of(deployed)
    registry = Registry(deployed.settings("train"))
    now = deployed.get("classify/covertype")["model"]["version"]
    other = next(one for one in versions(deployed) if one["version"] != now)
    address = as_train(deployed, monkeypatch).get_model_version_download_uri("covertype", other["version"])
    root = f"{address.removeprefix('mlflow-artifacts:/')}/artifacts/serving/"
    with closing(deployed.minio.client()) as s3:
        names = ("contract.json", "network.tflite")
        whole = {name: s3.get_object(Bucket="mlflow", Key=root + name)["Body"].read() for name in names}
        for name, body in altered(whole, how).items():
            s3.put_object(Bucket="mlflow", Key=root + name, Body=body)
        registry.move_alias("covertype", other["version"])
        deployed.wait_for("classify/covertype", lambda one: one["stale_since"], "refused the tampered bundle")
        assert classify(deployed, row).json()["model"]["version"] == now
        assert "the new champion was refused" in deployed.functions["classify"].log.read_text()
        registry.move_alias("covertype", now)
        deployed.wait_for("classify/covertype", lambda one: one["stale_since"] is None, "was up to date again")
        for name, body in whole.items():
            s3.put_object(Bucket="mlflow", Key=root + name, Body=body)
    registry.move_alias("covertype", other["version"])
    deployed.wait_for("classify/covertype", lambda one: one["model"]["version"] == other["version"], "took it whole")


def test_a_backup_restored_into_empty_servers_gives_the_same_predictions_and_lineage(
    deployed: Deployed, source: Source, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("backup") / "today"
    code, told = Site(deployed.home, deployed.minio, deployed.mysql, STORE).run("backup", folder)
    assert code == 0, told
    rows = [dict(row_of(deployed), Elevation=elevation) for elevation in range(2000, 3600, 100)]
    before = lineage(deployed, rows, monkeypatch)
    home = tmp_path_factory.mktemp("restored")
    restored = Deployed(home, like=deployed, COVERTYPE_API_URL=source.url)  # type: ignore[attr-defined]
    try:
        restored.minio.start()
        restored.mysql.start()
        code, told = Site(home, restored.minio, restored.mysql, STORE).run("restore", folder)
        assert code == 0, told
        restored.start()
        restored.wait_for("classify/covertype", lambda one: one["model"]["version"], "served its champion")
        assert lineage(restored, rows, monkeypatch) == before
        assert restored.wait_for_end(restored.train(force=False))["decision"] == "skipped"
    finally:
        restored.stop()


STORE = {"SABUESO_STORE": "s3://sabueso"}


def lineage(deployed: Deployed, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What must be the same after a restore: predictions, versions, runs, data sets, samples."""
    answer = requests.post(deployed.url("classify/covertype"), json=rows, timeout=60).json()
    client = as_train(deployed, monkeypatch)
    found = versions(deployed)
    runs = {one["version"]: client.get_run(one["run_id"]) for one in found}
    status, card = deployed.get("fetch-batch/covertype"), deployed.get("classify/covertype")
    for told in (status, card):
        del told["request_id"]
    return {
        "predictions": (answer["model"], answer["predictions"]),
        "card": card,
        "versions": found,
        "runs": {
            version: (run.data.params, run.data.metrics, run.data.tags, run.inputs.to_dictionary())
            for version, run in runs.items()
        },
        "trainings": [one["id"] for one in deployed.get("train/covertype")["history"]],
        "fetch": status,
        "samples": samples(deployed),
    }
