"""From collection to prediction, then each service stopped during a training."""

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

import train.tracking.run
from asking import as_train, classify, row_of, versions
from common.pipeline_files import read_pipelines
from common.pipelines import pick
from common.storage.executions import newest
from common.storage.training_record import TrainingRecord
from conftest import wait_until
from deployed import LEASE_S, Deployed, Function
from train.registry import VersionRegistry
from train.settings import TrainSettings
from train.tracking.run import TrackedRun
from train.training_key import TrainingKey
from train.version_tags import RunTags

pytestmark = [pytest.mark.integration, pytest.mark.full]


def epochs_in(record: Any) -> list[int]:
    """The epoch that the stage of a training names, if it names one."""
    return [int(number) for number in re.findall(r"epoch (\d+) of", record["stage"])]


def test_a_collection_is_trained_and_served(collected: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    record = collected.wait_for_end(collected.train(force=False))
    assert (record["state"], record["decision"], record["version"]) == ("finished", "promoted", "1")
    card = collected.wait_for("classify/covertype", lambda card: card["model"]["version"] == "1", "served version 1")
    assert card["snapshot"] == record["snapshot"]
    answer = classify(collected, row_of(collected))
    assert (answer.status_code, answer.json()["model"]["version"]) == (200, "1")
    run = as_train(collected, monkeypatch).get_run(record["run_id"])
    assert run.info.status == "FINISHED"
    assert run.inputs.dataset_inputs[0].dataset.digest == record["snapshot"][:32]
    assert collected.wait_for_end(collected.train(force=False))["decision"] == "skipped"


def test_mysql_stopped_during_a_training_loses_no_metric_and_makes_no_second_version(
    collected: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(versions(collected))
    identity = collected.train()
    collected.wait_for("train/covertype", lambda record: record["stage"].startswith("epoch"), "fitted")
    collected.mysql.stop()
    epochs = {0}

    def waits(record: Any) -> bool:
        epochs.update(epochs_in(record))
        return "its database does not answer" in record["reason"]

    collected.wait_for("train/covertype", waits, "reported that it waits")
    assert collected.get("train/covertype")["state"] == "running"
    collected.mysql.start()
    record = collected.wait_for_end(identity)
    assert record["state"] == "finished", record["reason"]
    assert "waiting" not in record["reason"]
    assert len(versions(collected)) == before + 1
    client = as_train(collected, monkeypatch)
    steps = [metric.step for metric in client.get_metric_history(record["run_id"], "tune_accuracy")]
    assert "metrics are kept for later" in collected.job_log()
    assert sorted(steps) == list(range(1, len(steps) + 1))
    assert len(steps) >= max(epochs) >= 1


def test_minio_down_for_longer_than_the_lease_does_not_stop_a_fit(collected: Deployed) -> None:
    before = len(versions(collected))
    identity = collected.train()
    collected.wait_for("train/covertype", lambda record: record["stage"].startswith("epoch"), "fitted")
    collected.minio.stop(signal.SIGKILL)
    time.sleep(LEASE_S + 2)
    wait_until(lambda: "can't be used" in collected.job_log(), 120)
    collected.minio.start()
    second = collected.post("train/covertype", {"force": True})
    assert (second.status_code, second.json()["type"]) == (409, "urn:sabueso:problem:already-running")
    record = collected.wait_for_end(identity)
    assert record["state"] == "finished", record["reason"]
    assert len(versions(collected)) == before + 1


def test_minio_stopped_during_an_upload_leaves_one_complete_version(
    collected: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(versions(collected))
    identity = collected.train()
    collected.wait_for("train/covertype", lambda record: record["stage"] == "registering", "registered", 240)
    collected.minio.stop(signal.SIGKILL)
    wait_until(lambda: "can't be used" in collected.job_log(), 60)
    collected.minio.start()
    record = collected.wait_for_end(identity)
    assert record["state"] == "finished", record["reason"]
    assert len(versions(collected)) == before + 1
    client = as_train(collected, monkeypatch)
    experiment = client.get_run(record["run_id"]).info.experiment_id
    models = client.search_logged_models([experiment], filter_string=f"source_run_id = '{record['run_id']}'")
    assert [model.status for model in models] == [LoggedModelStatus.READY]
    assert collected.post("train/covertype/promote", {"version": int(record["version"])}).status_code == 200
    collected.wait_for(
        "classify/covertype", lambda card: card["model"]["version"] == record["version"], "served the new version"
    )


def set_environment(function: Function, **environment: str) -> None:
    """Restart a function with other settings."""
    function.stop()
    function.environment |= environment
    function.start()


@pytest.mark.parametrize("stage", ["epoch", "exporting"])
def test_a_job_that_gave_up_is_resumed_without_repeating_epochs(
    collected: Deployed, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    function = collected.functions["train"]
    set_environment(function, SABUESO_RETRY_S="1")
    before = len(versions(collected))
    identity = collected.train()
    collected.wait_for("train/covertype", lambda record: record["stage"].startswith(stage), f"reached {stage}", 240)
    collected.mlflow.stop()
    epochs = {0}

    def has_ended(record: Any) -> bool:
        epochs.update(epochs_in(record))
        return bool(record["id"] == identity and record["state"] != "running")

    record = collected.wait_for("train/covertype", has_ended, "ended")
    assert (record["state"], record["decision"]) == ("interrupted", None)
    assert "MLflow" in record["reason"]
    collected.mlflow.start()
    again = collected.wait_for_end(collected.train(force=False))
    assert (again["state"], again["resumed_from"]) == ("finished", identity)
    assert again["run_id"] == record["run_id"]
    assert len(versions(collected)) == before + 1
    client = as_train(collected, monkeypatch)
    for name in ("train_loss", "tune_log_loss", "tune_accuracy"):
        steps = [metric.step for metric in client.get_metric_history(again["run_id"], name)]
        assert sorted(steps) == list(range(1, len(steps) + 1))  # no epoch was repeated
        assert len(steps) >= max(epochs)  # no epoch was lost
    assert "figures/learning_curves.png" in [file.path for file in client.list_artifacts(again["run_id"], "figures")]
    set_environment(function, SABUESO_RETRY_S="")


def delete_decision(deployed: Deployed, version: str) -> None:
    tag = {"name": "covertype", "version": version, "key": "sabueso.decision"}
    answer = deployed.accounts.call("admin", "DELETE", "mlflow/model-versions/delete-tag", json=tag)
    assert answer.status_code == 200, answer.text


def test_a_version_without_a_decision_is_judged_and_not_trained_again(collected: Deployed) -> None:
    if not versions(collected):
        collected.wait_for_end(collected.train())
    before = versions(collected)
    for version in before:
        delete_decision(collected, version.number)
    record = collected.wait_for_end(collected.train(force=False))
    assert (record["state"], record["version"]) == ("finished", before[0].number)
    after = versions(collected)
    assert len(after) == len(before)
    assert after[0].tags.decision == record["decision"]


def test_a_resumed_forced_training_makes_no_second_version(collected: Deployed) -> None:
    first = collected.wait_for_end(collected.train())
    delete_decision(collected, first["version"])
    with closing(collected.store()) as store:
        execution = newest(store, "covertype", TrainingRecord)
        assert execution is not None
        execution.update(state="interrupted", version=None, decision=None, reason="the object store stayed down")
    before = len(versions(collected))
    again = collected.wait_for_end(collected.train(force=False))
    assert (again["resumed_from"], again["state"], again["version"]) == (first["id"], "finished", first["version"])
    assert again["decision"] in ("promoted", "kept")
    assert len(versions(collected)) == before


def open_run(settings: TrainSettings, execution: str) -> TrackedRun:
    pipeline = pick(read_pipelines(settings.pipelines), "covertype")
    tags = RunTags("covertype", TrainingKey("a snapshot", "a fingerprint"), execution, "a commit")
    return TrackedRun(pipeline, VersionRegistry(settings), settings, None, tags)


def test_a_repeated_registration_returns_the_same_version(
    trained: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_train(trained, monkeypatch)
    count = len(versions(trained))
    settings = trained.settings("train")
    oldest = versions(trained)[-1]  # its run belongs to one execution alone
    run = open_run(settings, str(oldest.tags.execution))
    try:
        assert run.run_id == oldest.run_id  # found by its execution
        assert run.register(tmp_path / "no bundle", [], {}, "") == oldest.number
    finally:
        run.end("FINISHED")
    assert len(versions(trained)) == count


def test_unsent_metrics_reach_mlflow_before_a_version_does(trained: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def refuse(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("Connection refused")

    def die(*_: Any) -> None:
        raise Killed

    client = as_train(trained, monkeypatch)
    run = open_run(trained.settings("train"), "measured")
    try:
        with monkeypatch.context() as patch:
            patch.setattr(run.client, "log_batch", refuse)
            run.log_metrics({"measured": 1.0})
        monkeypatch.setattr(train.tracking.run, "log_model", die)
        with pytest.raises(Killed):
            run.register(Path("no bundle"), [], {}, "")
        assert client.get_run(run.run_id).data.metrics == {"measured": 1.0}
    finally:
        run.end("FAILED")
