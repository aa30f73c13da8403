"""A real training against a real MLflow: what its run, version and model then say."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

import train.report.tracking
from common.datasets import Dataset
from common.executions import begin
from common.leases import acquire
from common.objects import FolderObjects
from common.pipelines import read_pipelines
from common.registry import Registry
from common.settings import Settings, read_settings
from conftest import KEY, wait_until
from flowers import flower_rows
from local_mlflow import LocalMlflow
from stored import add_rows
from train.job import settings_fingerprint
from train.launch import FIRST
from train.report.system_metrics import SystemMetrics
from train.report.tracking import Tracking

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 6
LEFT_IN_SCRATCH = ("pictures/flowers/overtaken/decoded.npy", f"weights/.{'0' * 64}.4194399")  # no machine has that pid


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[LocalMlflow]:
    with LocalMlflow(home) as running:
        yield running


@pytest.fixture(scope="module")
def settings(home: Path, server: LocalMlflow) -> Settings:
    (home / "secrets").mkdir()
    (home / "secrets" / "bundle-key").write_text(KEY)
    return read_settings(
        {
            "SABUESO_STORE": f"file://{home}/store",
            "SABUESO_SECRETS": str(home / "secrets"),
            "SABUESO_SCRATCH": str(home / "scratch"),
            "SABUESO_PIPELINES": str(ROOT / "tests" / "pipelines"),
            "SABUESO_EPOCHS": str(EPOCHS),
            "SABUESO_GIT_COMMIT": "0123456789abcdef",
            "MLFLOW_TRACKING_URI": server.url,
        }
    )


@pytest.fixture(scope="module")
def trained(home: Path, settings: Settings) -> dict[str, Any]:
    """The record of a training of flowers, in a place where others left things unfinished."""
    store = FolderObjects(home / "store")
    dataset = Dataset(store, "flowers")
    dataset.set_source({"type": "table", "location": "https://ana:secret@example.org/rows.csv", "params": {}})
    for batch in range(3):
        add_rows(dataset, batch + 1, flower_rows(100, seed=batch))
    for path in LEFT_IN_SCRATCH:
        (home / "scratch" / path).parent.mkdir(parents=True)
        (home / "scratch" / path).write_bytes(b"left")
    for name in ("plan.json", "state.npz"):
        store.put(f"jobs/flowers/checkpoints/overtaken/{name}", b"{}")
    record, told = run_job(store, settings)
    assert record["state"] == "finished", told
    return record


def run_job(store: FolderObjects, settings: Settings, **environment: str) -> tuple[dict[str, Any], str]:
    """One training of flowers, by the child process that train starts: its record, and what it wrote."""
    record = begin(store, "flowers", "train", {**FIRST, "force": False})
    lease = acquire(store, "jobs/flowers/train.json", "train", 60)
    done = subprocess.run(
        [sys.executable, "-m", "train.job", "flowers", record.key, lease.nonce, "-"],
        env={**os.environ, **settings.environment, "PYTHONPATH": str(ROOT / "functions"), **environment},
        cwd=ROOT / "functions",
        capture_output=True,
        text=True,
        check=False,
    )
    found = store.get(record.key)
    assert found is not None
    return dict(json.loads(found.body)), done.stderr


@pytest.fixture(scope="module")
def run(server: LocalMlflow, trained: dict[str, Any]) -> dict[str, Any]:
    """As MLflow's REST API tells it."""
    answer = requests.get(f"{server.url}/api/2.0/mlflow/runs/get", params={"run_id": trained["run_id"]}, timeout=30)
    return dict(answer.json()["run"])


def test_the_run_says_what_decided_the_training(run: dict[str, Any], trained: dict[str, Any]) -> None:
    params = {one["key"]: one["value"] for one in run["data"]["params"]}
    assert {"kind", "budget_s", "seed", "plan_epochs", "weights", "members", "plan_learning_rate"} <= set(params)
    assert {part: int(params[f"examples_{part}"]) for part in trained["sizes"]} == trained["sizes"]
    assert params["plan_epochs"] == str(EPOCHS)  # as SABUESO_EPOCHS says, not what fits into the budget
    metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert metrics["fit_seconds"] > 0
    assert metrics["peak_memory_mb"] > 100
    assert metrics["accuracy"] == trained["metrics"]["accuracy"]


def test_cpu_and_memory_are_sampled_during_the_fit(run: dict[str, Any]) -> None:
    names = {one["key"] for one in run["data"]["metrics"]}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= names
    assert "system/process_memory_usage_megabytes" in names


def test_the_snapshot_is_its_dataset_with_schema_profile_and_source(
    run: dict[str, Any], trained: dict[str, Any], home: Path
) -> None:
    [given] = run["inputs"]["dataset_inputs"]
    data, tags = given["dataset"], {one["key"]: one["value"] for one in given["tags"]}
    assert data["digest"] == trained["snapshot"][:32]
    assert tags == {"mlflow.data.context": "training", "snapshot": trained["snapshot"], "made_up": "true"}
    place = json.loads(data["source"])["uri"].removeprefix("file://")
    assert json.loads(Path(place).read_text())["fingerprint"] == trained["snapshot"]
    profile = json.loads(data["profile"])
    assert profile["parts"] == trained["sizes"]
    assert sum(profile["labels"].values()) == profile["num_rows"] == trained["examples"]
    columns = {one["name"]: one["type"] for one in json.loads(data["schema"])["mlflow_colspec"]}
    assert columns == {"petal": "double", "species": "string", "turn": "double", "colour": "string", "place": "string"}


def test_figures_and_tables_are_there(server: LocalMlflow, trained: dict[str, Any]) -> None:
    client = MlflowClient(server.url, server.url)
    found = {Path(file.path).stem for file in client.list_artifacts(trained["run_id"], "figures")}
    assert found == {"confusion_matrix", "reliability", "per_class", "confidence", "learning_curves"}
    files = {file.path for file in client.list_artifacts(trained["run_id"])}
    assert {"model_card.md", "per_class.json", "worst_mistakes.json"} <= files


def test_the_version_has_its_page_with_the_gate_s_result_and_its_tags(
    settings: Settings, trained: dict[str, Any]
) -> None:
    version = Registry(settings).version("flowers", trained["version"])
    assert version is not None
    page, tags = version["description"], version["tags"]
    assert f"**{trained['decision']}**: {trained['reason']}" in page
    assert "table `https://example.org/rows.csv`; made up" in page
    assert f"{trained['metrics']['accuracy']:.4f}" in page
    assert tags["sabueso.snapshot"] == trained["snapshot"]
    assert tags["sabueso.settings"] == trained["settings"]
    assert (tags["sabueso.decision"], tags["sabueso.reason"]) == (trained["decision"], trained["reason"])
    assert tags["mlflow.source.git.commit"] == "0123456789abcdef"
    assert (tags["sabueso.examples"], tags["sabueso.holdout"]) == ("300", str(trained["sizes"]["holdout"]))
    assert (tags["sabueso.made_up"], tags["sabueso.kind"]) == ("true", "tabular")
    assert "secret" not in json.dumps(version)


def test_the_run_s_own_page_has_the_version_s_number_and_the_gate_s_result(
    server: LocalMlflow, trained: dict[str, Any], tmp_path: Path
) -> None:
    client = MlflowClient(server.url, server.url)
    page = Path(client.download_artifacts(trained["run_id"], "model_card.md", str(tmp_path)))
    assert f"**{trained['decision']}**: {trained['reason']}" in page.read_text()
    assert f'load_model("models:/flowers/{trained["version"]}")' in page.read_text()


def test_what_trainings_before_it_left_unfinished_is_gone(trained: dict[str, Any], home: Path) -> None:
    assert [path for path in LEFT_IN_SCRATCH if (home / "scratch" / path).exists()] == []
    kept = {path.name for path in (home / "store/jobs/flowers/checkpoints/overtaken").iterdir()}
    assert kept == {"plan.json"}


def test_the_code_of_the_page_runs_and_mlflow_takes_the_input_example(
    settings: Settings, trained: dict[str, Any], tmp_path: Path
) -> None:
    version = Registry(settings).version("flowers", trained["version"])
    assert version is not None
    found = re.search(r"```python\n(.*?)\n```", version["description"], re.DOTALL)
    assert found is not None
    uri = f"models:/flowers/{trained['version']}"
    check = "from mlflow.models import validate_serving_input\nfrom mlflow.models.utils import load_serving_example\n"
    check += f"print(len(validate_serving_input({uri!r}, load_serving_example({uri!r}))), 'answered')\n"
    # MLflow's client leaves its places in the environment of this process, for its children.
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH" and "MLFLOW" not in key}
    done = subprocess.run(
        [sys.executable, "-c", f"{found[1]}\n{check}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "probability_small" in done.stdout or "..." in done.stdout
    assert "3 answered" in done.stdout


@pytest.mark.parametrize("words", [("lineage", "--version", "1"), ("export", "--format", "csv", "--out", "x")])
def test_the_scripts_work_on_it_without_tensorflow_and_mlflow_s_client(
    settings: Settings, trained: dict[str, Any], tmp_path: Path, words: tuple[str, ...]
) -> None:
    name, *rest = words
    code = f"import sys; from provenance import {name}; code = {name}.main({['flowers', *rest]!r})\n"
    code += "assert not {'tensorflow', 'keras', 'mlflow', 'flask'} & set(sys.modules)\nsys.exit(code)"
    path = os.pathsep.join([str(ROOT / "scripts"), str(ROOT / "functions")])
    environment = {**os.environ, **settings.environment, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert trained["snapshot"] in done.stdout + done.stderr


def test_a_version_that_was_left_without_a_decision_is_judged_and_nothing_of_its_making_stays(
    server: LocalMlflow, settings: Settings, trained: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    client = MlflowClient(server.url, server.url)
    client.delete_model_version_tag("flowers", trained["version"], "sabueso.decision")
    path = Path(client.download_artifacts(trained["run_id"], "model_card.md", str(tmp_path)))
    judged = path.read_text()
    told = f"**{trained['decision']}**: {trained['reason']}"
    client.log_text(trained["run_id"], judged.replace(told, "Not judged yet."), "model_card.md")
    picture = own_picture(home, trained["snapshot"], trained["settings"])
    record, _ = run_job(FolderObjects(home / "store"), settings)
    assert (record["version"], record["decision"]) == (trained["version"], trained["decision"])
    client.download_artifacts(trained["run_id"], "model_card.md", str(tmp_path))
    assert path.read_text() == judged
    assert not picture.exists()


def own_picture(home: Path, snapshot: str, settings: str) -> Path:
    """Something decoded that an earlier process of the same making left."""
    picture = home / "scratch" / "pictures" / "flowers" / f"{snapshot[:24]}-{settings[:8]}" / "decoded.npy"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"decoded")
    return picture


def test_a_training_that_failed_leaves_no_decoded_pictures(
    settings: Settings, trained: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    pipeline = read_pipelines(settings.pipelines)["flowers"]
    environment = {"SABUESO_SECRETS": str(tmp_path), "SABUESO_EPOCHS": "2"}
    fingerprint = settings_fingerprint(pipeline, read_settings({**settings.environment, **environment}))
    picture = own_picture(home, trained["snapshot"], fingerprint)
    record, _ = run_job(FolderObjects(home / "store"), settings, **environment)
    assert (record["state"], "bundle-key" in record["reason"]) == ("failed", True)
    assert not picture.parent.parent.exists()


def test_system_metrics_of_an_mlflow_that_was_away_are_sent_when_it_is_back(
    server: LocalMlflow, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.report.tracking, "SystemMetrics", functools.partial(SystemMetrics, every_s=0.05))
    pipeline = read_pipelines(settings.pipelines)["flowers"]
    tracking = Tracking(pipeline, settings, None, {"sabueso.execution": "away"})
    try:
        with tracking.system_metrics():
            server.stop()
            system = tracking._system
            assert system is not None
            wait_until(lambda: len(system._waiting) >= 12)
            tracking.metrics({"train_loss": 0.5}, step=1)
            waiting = {(one.key, one.timestamp) for one in tracking._unsent}
            assert len(waiting) >= 13
            server.start()
            tracking.send_metrics()
        key = "system/cpu_utilization_percentage"
        sent = {(one.key, one.timestamp) for one in tracking.client.get_metric_history(tracking.run_id, key)}
        assert {one for one in waiting if one[0] == key} <= sent
        assert [one.step for one in tracking.client.get_metric_history(tracking.run_id, "train_loss")] == [1]
    finally:
        tracking.end("FINISHED")
