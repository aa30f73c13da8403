"""The whole way, then each service stopped in the middle of a training."""

from __future__ import annotations

import re
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow.entities import LoggedModelStatus

from asking import as_train, classify, row_of, versions
from common.executions import history
from common.pipelines import pick, read_pipelines
from conftest import wait_until
from deployed import LEASE_S, Deployed
from train.report.tracking import Tracking

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_the_whole_way_on_real_servers(collected: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    record = collected.wait_for_end(collected.train(force=False))
    assert (record["state"], record["decision"], record["version"]) == ("finished", "promoted", "1")
    card = collected.wait_for("classify/covertype", lambda one: one["model"]["version"] == "1", "served version 1")
    assert card["snapshot"] == record["snapshot"]
    answer = classify(collected, row_of(collected))
    assert (answer.status_code, answer.json()["model"]["version"]) == (200, "1")
    run = as_train(collected, monkeypatch).get_run(record["run_id"])
    assert run.info.status == "FINISHED"
    assert run.inputs.dataset_inputs[0].dataset.digest == record["snapshot"][:32]
    assert collected.wait_for_end(collected.train(force=False))["decision"] == "skipped"


def test_mysql_stopped_during_a_training_costs_no_metric_and_makes_no_second_version(
    collected: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(versions(collected))
    identity = collected.train()
    collected.wait_for("train/covertype", lambda one: one["stage"].startswith("epoch"), "fitted")
    collected.mysql.stop()
    epochs = {0}

    def waits(one: Any) -> bool:
        epochs.update(int(number) for number in re.findall(r"epoch (\d+) of", one["stage"]))
        return "its database does not answer" in one["reason"]

    collected.wait_for("train/covertype", waits, "said it waits")
    assert collected.get("train/covertype")["state"] == "running"
    collected.mysql.start()
    record = collected.wait_for_end(identity)
    assert record["state"] == "finished", record["reason"]
    assert "waiting" not in record["reason"]
    assert len(versions(collected)) == before + 1
    client = as_train(collected, monkeypatch)
    steps = [one.step for one in client.get_metric_history(record["run_id"], "tune_accuracy")]
    assert "metrics are kept for later" in collected.job_log()
    assert sorted(steps) == list(range(1, len(steps) + 1))
    assert len(steps) >= max(epochs) >= 1


def test_minio_away_during_a_fit_for_longer_than_the_lease_does_not_stop_it(collected: Deployed) -> None:
    before = len(versions(collected))
    identity = collected.train()
    collected.wait_for("train/covertype", lambda one: one["stage"].startswith("epoch"), "fitted")
    collected.minio.stop(signal.SIGKILL)
    time.sleep(LEASE_S + 2)
    wait_until(lambda: "can't be used" in collected.job_log(), 120)
    collected.minio.start()
    second = collected.post("train/covertype", {"force": True})
    assert (second.status_code, second.json()["type"]) == (409, "urn:sabueso:problem:already-running")
    record = collected.wait_for_end(identity)
    assert record["state"] == "finished", record["reason"]
    assert len(versions(collected)) == before + 1


def test_minio_stopped_in_the_middle_of_an_artifact_upload_leaves_one_whole_version(
    collected: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(versions(collected))
    identity = collected.train()
    collected.wait_for("train/covertype", lambda one: one["stage"] == "registering", "registered", 240)
    collected.minio.stop(signal.SIGKILL)
    wait_until(lambda: "can't be used" in collected.job_log(), 60)
    collected.minio.start()
    record = collected.wait_for_end(identity)
    assert record["state"] == "finished", record["reason"]
    assert len(versions(collected)) == before + 1
    client = as_train(collected, monkeypatch)
    experiment = client.get_run(record["run_id"]).info.experiment_id
    models = client.search_logged_models([experiment], filter_string=f"source_run_id = '{record['run_id']}'")
    assert [one.status for one in models] == [LoggedModelStatus.READY]
    assert collected.post("train/covertype/promote", {"version": int(record["version"])}).status_code == 200
    collected.wait_for(
        "classify/covertype", lambda one: one["model"]["version"] == record["version"], "served the new version"
    )


@pytest.mark.parametrize("stage", ["epoch", "exporting"])
def test_a_job_that_gives_up_waiting_is_taken_up_without_fitting_again(
    collected: Deployed, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    train = collected.functions["train"]
    train.stop()
    patient = train.environment.get("SABUESO_PATIENCE_S", "")
    train.environment["SABUESO_PATIENCE_S"] = "1"
    train.start()
    before = len(versions(collected))
    identity = collected.train()
    collected.wait_for("train/covertype", lambda one: one["stage"].startswith(stage), f"came to {stage}", 240)
    collected.mlflow.stop()
    epochs = {0}

    def ended(one: Any) -> bool:
        epochs.update(int(number) for number in re.findall(r"epoch (\d+) of", one["stage"]))
        return one["id"] == identity and one["state"] != "running"

    record = collected.wait_for("train/covertype", ended, "ended")
    assert (record["state"], record["decision"]) == ("interrupted", None)
    assert "MLflow" in record["reason"]
    collected.mlflow.start()
    again = collected.wait_for_end(collected.train(force=False))
    assert (again["state"], again["resumed_from"]) == ("finished", identity)
    assert again["run_id"] == record["run_id"]
    assert len(versions(collected)) == before + 1
    client = as_train(collected, monkeypatch)
    for name in ("train_loss", "tune_log_loss", "tune_accuracy"):
        steps = [one.step for one in client.get_metric_history(again["run_id"], name)]
        assert sorted(steps) == list(range(1, len(steps) + 1))  # no epoch was done twice
        assert len(steps) >= max(epochs)  # and none was lost
    assert "figures/learning_curves.png" in [file.path for file in client.list_artifacts(again["run_id"], "figures")]
    train.stop()
    train.environment["SABUESO_PATIENCE_S"] = patient
    train.start()


def test_a_version_left_without_a_decision_is_judged_and_not_made_again(collected: Deployed) -> None:
    if not versions(collected):
        collected.wait_for_end(collected.train())
    before = versions(collected)
    for one in before:
        tag = {"name": "covertype", "version": one["version"], "key": "sabueso.decision"}
        answer = collected.accounts.call("admin", "DELETE", "mlflow/model-versions/delete-tag", json=tag)
        assert answer.status_code == 200, answer.text
    record = collected.wait_for_end(collected.train(force=False))
    assert (record["state"], record["version"]) == ("finished", before[0]["version"])
    after = versions(collected)
    assert len(after) == len(before)
    assert after[0]["tags"]["sabueso.decision"] == record["decision"]


def test_a_forced_training_that_could_not_write_down_its_version_makes_no_second_one(collected: Deployed) -> None:
    first = collected.wait_for_end(collected.train())
    tag = {"name": "covertype", "version": first["version"], "key": "sabueso.decision"}
    answer = collected.accounts.call("admin", "DELETE", "mlflow/model-versions/delete-tag", json=tag)
    assert answer.status_code == 200, answer.text
    with closing(collected.store()) as store:
        [record] = history(store, "covertype", "train", most=1)
        record.update(state="interrupted", version=None, decision=None, reason="the object store stayed away")
    before = len(versions(collected))
    again = collected.wait_for_end(collected.train(force=False))
    assert (again["resumed_from"], again["state"], again["version"]) == (first["id"], "finished", first["version"])
    assert again["decision"] in ("promoted", "kept")
    assert len(versions(collected)) == before


def test_a_version_is_registered_once_however_often_it_is_asked_for(
    trained: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_train(trained, monkeypatch)
    count = len(versions(trained))
    settings = trained.settings("train")
    oldest = versions(trained)[-1]  # its run was not taken up from another execution
    pipeline = pick(read_pipelines(settings.pipelines), "covertype")
    tags = {key: text for key, text in oldest["tags"].items() if key.startswith("sabueso.")}
    tracking = Tracking(pipeline, settings, None, tags)
    try:
        assert tracking.run_id == oldest["run_id"]  # found by its execution
        assert tracking.register(tmp_path / "no bundle", [], tags, "") == oldest["version"]
    finally:
        tracking.end("FINISHED")
    assert len(versions(trained)) == count


def test_what_was_measured_is_in_mlflow_before_a_version_is(trained: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def refuse(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("Connection refused")

    def die(*_: Any) -> None:
        raise Killed

    client = as_train(trained, monkeypatch)
    settings, tags = trained.settings("train"), {"sabueso.execution": "measured"}
    tracking = Tracking(pick(read_pipelines(settings.pipelines), "covertype"), settings, None, tags)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(tracking.client, "log_batch", refuse)
            tracking.metrics({"measured": 1.0})
        monkeypatch.setattr(tracking, "_log_model", die)
        with pytest.raises(Killed):
            tracking.register(Path("no bundle"), [], tags, "")
        assert client.get_run(tracking.run_id).data.metrics == {"measured": 1.0}
    finally:
        tracking.end("FAILED")
