"""A real training against a real MLflow: its run, its version and its model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric

import train.tracking.run
from all_settings import AllSettings as Settings
from all_settings import read_settings
from common.pipeline_files import read_pipelines
from common.storage import keys
from common.storage.dataset import Dataset, SourceDocument
from common.storage.executions import begin, load
from common.storage.folder import FolderStore
from common.storage.leases import acquire
from common.storage.training_record import TrainingRecord
from conftest import KEY
from flowers import flower_rows
from local_mlflow import LocalMlflow
from stored import add_rows
from train.fingerprint import settings_fingerprint
from train.registry import VersionRegistry
from train.tracking.run import TrackedRun
from train.tracking.system_metrics import SystemMetrics
from train.training_key import TrainingKey
from train.version_tags import RunTags

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 6
# No machine has a process 4194399.
LEFTOVERS = ("pictures/flowers/superseded/decoded.npy", f"weights/.{'0' * 64}.4194399")


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
def trained(home: Path, settings: Settings) -> TrainingRecord:
    """The record of a training of flowers, beside the leftovers of earlier trainings."""
    store = FolderStore(home / "store")
    dataset = Dataset(store, "flowers")
    dataset.set_source(SourceDocument(type="table", location="https://ana:secret@example.org/rows.csv"))
    for batch in range(3):
        add_rows(dataset, batch + 1, flower_rows(100, seed=batch))
    for path in LEFTOVERS:
        (home / "scratch" / path).parent.mkdir(parents=True)
        (home / "scratch" / path).write_bytes(b"left")
    for name in ("plan.json", "state.npz"):
        store.put(keys.checkpoint("flowers", "superseded", name), b"{}")
    record, output = run_job(store, settings)
    assert record.state == "finished", output
    return record


def run_job(store: FolderStore, settings: Settings, **environment: str) -> tuple[TrainingRecord, str]:
    """One training of flowers, by the child process that train starts: its record and its output."""
    execution = begin(store, "flowers", TrainingRecord.new())
    lease = acquire(store, keys.lease("flowers", "train"), "train", 60)
    done = subprocess.run(
        [sys.executable, "-m", "train.job", "flowers", execution.key, lease.nonce],
        env={**os.environ, **settings.environment, "PYTHONPATH": str(ROOT / "functions"), **environment},
        cwd=ROOT / "functions",
        capture_output=True,
        text=True,
        check=False,
    )
    return load(store, execution.key, TrainingRecord).record, done.stderr


@pytest.fixture(scope="module")
def run(server: LocalMlflow, trained: TrainingRecord) -> dict[str, Any]:
    """The run as MLflow's REST API returns it."""
    answer = requests.get(f"{server.url}/api/2.0/mlflow/runs/get", params={"run_id": trained.run_id}, timeout=30)
    return dict(answer.json()["run"])


def test_the_run_has_the_parameters_and_figures_of_the_training(run: dict[str, Any], trained: TrainingRecord) -> None:
    params = {one["key"]: one["value"] for one in run["data"]["params"]}
    assert {"kind", "budget_s", "seed", "plan_epochs", "weights", "members", "plan_learning_rate"} <= set(params)
    assert {part: int(params[f"examples_{part}"]) for part in trained.sizes} == trained.sizes
    assert params["plan_epochs"] == str(EPOCHS)  # from SABUESO_EPOCHS, not from the budget
    metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert metrics["fit_seconds"] > 0
    assert metrics["peak_memory_mb"] > 100
    assert metrics["accuracy"] == trained.metrics["accuracy"]


def test_cpu_and_memory_are_sampled_during_the_fit(run: dict[str, Any]) -> None:
    names = {one["key"] for one in run["data"]["metrics"]}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= names
    assert "system/process_memory_usage_megabytes" in names


def test_the_runs_dataset_is_the_snapshot_with_schema_profile_and_source(
    run: dict[str, Any], trained: TrainingRecord, home: Path
) -> None:
    [dataset_input] = run["inputs"]["dataset_inputs"]
    data, tags = dataset_input["dataset"], {one["key"]: one["value"] for one in dataset_input["tags"]}
    assert data["digest"] == trained.snapshot[:32]
    assert tags == {"mlflow.data.context": "training", "snapshot": trained.snapshot, "made_up": "true"}
    path = json.loads(data["source"])["uri"].removeprefix("file://")
    assert json.loads(Path(path).read_text())["fingerprint"] == trained.snapshot
    profile = json.loads(data["profile"])
    assert profile["parts"] == trained.sizes
    assert sum(profile["labels"].values()) == profile["num_rows"] == trained.examples
    columns = {one["name"]: one["type"] for one in json.loads(data["schema"])["mlflow_colspec"]}
    assert columns == {"petal": "double", "species": "string", "turn": "double", "colour": "string", "place": "string"}


def test_the_run_has_figures_and_tables(server: LocalMlflow, trained: TrainingRecord) -> None:
    client = MlflowClient(server.url, server.url)
    figures = {Path(file.path).stem for file in client.list_artifacts(trained.run_id, "figures")}
    assert figures == {"confusion_matrix", "reliability", "per_class", "confidence", "learning_curves"}
    files = {file.path for file in client.list_artifacts(trained.run_id)}
    assert {"model_card.md", "per_class.json", "worst_mistakes.json"} <= files


def test_the_version_has_tags_and_a_page_with_the_verdict(server: LocalMlflow, trained: TrainingRecord) -> None:
    version = MlflowClient(server.url, server.url).get_model_version("flowers", trained.version)
    page, tags = version.description, version.tags
    assert f"**{trained.decision}**: {trained.reason}" in page
    assert "table `https://example.org/rows.csv`; made up" in page
    assert f"{trained.metrics['accuracy']:.4f}" in page
    assert tags["sabueso.snapshot"] == trained.snapshot
    assert tags["sabueso.settings"] == trained.settings_fingerprint
    assert (tags["sabueso.decision"], tags["sabueso.reason"]) == (trained.decision, trained.reason)
    assert tags["mlflow.source.git.commit"] == "0123456789abcdef"
    assert (tags["sabueso.examples"], tags["sabueso.holdout"]) == ("300", str(trained.sizes["holdout"]))
    assert (tags["sabueso.made_up"], tags["sabueso.kind"]) == ("true", "tabular")
    assert "secret" not in str(dict(version))


def test_the_runs_model_card_has_the_version_and_the_verdict(
    server: LocalMlflow, trained: TrainingRecord, tmp_path: Path
) -> None:
    client = MlflowClient(server.url, server.url)
    page = Path(client.download_artifacts(trained.run_id, "model_card.md", str(tmp_path))).read_text()
    assert f"**{trained.decision}**: {trained.reason}" in page
    assert f'load_model("models:/flowers/{trained.version}")' in page


def test_a_training_removes_leftovers_of_earlier_ones(trained: TrainingRecord, home: Path) -> None:
    assert [path for path in LEFTOVERS if (home / "scratch" / path).exists()] == []
    kept = {path.name for path in (home / "store/jobs/flowers/checkpoints/superseded").iterdir()}
    assert kept == {"plan.json"}


def test_the_code_on_the_page_runs_and_mlflow_accepts_the_input_example(
    server: LocalMlflow, trained: TrainingRecord, tmp_path: Path
) -> None:
    page = MlflowClient(server.url, server.url).get_model_version("flowers", trained.version).description
    code = re.search(r"```python\n(.*?)\n```", page, re.DOTALL)
    assert code is not None
    uri = f"models:/flowers/{trained.version}"
    check = "from mlflow.models import validate_serving_input\nfrom mlflow.models.utils import load_serving_example\n"
    check += f"print(len(validate_serving_input({uri!r}, load_serving_example({uri!r}))), 'answered')\n"
    # MLflow's client puts its server's address into the environment of this process.
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH" and "MLFLOW" not in key}
    done = subprocess.run(
        [sys.executable, "-c", f"{code[1]}\n{check}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "probability_small" in done.stdout or "..." in done.stdout
    assert "3 answered" in done.stdout


@pytest.mark.parametrize("command", [("lineage", "--version", "1"), ("export", "--format", "csv", "--out", "x")])
def test_lineage_and_export_need_neither_tensorflow_nor_mlflow(
    settings: Settings, trained: TrainingRecord, tmp_path: Path, command: tuple[str, ...]
) -> None:
    name, *arguments = command
    code = f"import sys; from provenance import {name}; code = {name}.main({['flowers', *arguments]!r})\n"
    code += "assert not {'tensorflow', 'keras', 'mlflow', 'flask'} & set(sys.modules)\nsys.exit(code)"
    path = os.pathsep.join([str(ROOT / "scripts"), str(ROOT / "functions")])
    environment = {**os.environ, **settings.environment, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert trained.snapshot in done.stdout + done.stderr


def test_a_version_without_a_decision_is_judged_and_its_leftovers_removed(
    server: LocalMlflow, settings: Settings, trained: TrainingRecord, home: Path, tmp_path: Path
) -> None:
    client = MlflowClient(server.url, server.url)
    client.delete_model_version_tag("flowers", trained.version, "sabueso.decision")
    path = Path(client.download_artifacts(trained.run_id, "model_card.md", str(tmp_path)))
    judged = path.read_text()
    verdict = f"**{trained.decision}**: {trained.reason}"
    client.log_text(trained.run_id, judged.replace(verdict, "Not judged yet."), "model_card.md")
    picture = leave_picture(home, trained.snapshot, trained.settings_fingerprint)
    record, _ = run_job(FolderStore(home / "store"), settings)
    assert (record.version, record.decision) == (trained.version, trained.decision)
    client.download_artifacts(trained.run_id, "model_card.md", str(tmp_path))
    assert path.read_text() == judged
    assert not picture.exists()


def leave_picture(home: Path, snapshot: str | None, fingerprint: str | None) -> Path:
    """A decoded picture that an earlier process of the same training left."""
    training = f"{str(snapshot)[:24]}-{str(fingerprint)[:8]}"
    picture = home / "scratch" / "pictures" / "flowers" / training / "decoded.npy"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"decoded")
    return picture


def test_a_failed_training_leaves_no_decoded_pictures(
    settings: Settings, trained: TrainingRecord, home: Path, tmp_path: Path
) -> None:
    pipeline = read_pipelines(settings.pipelines)["flowers"]
    environment = {"SABUESO_SECRETS": str(tmp_path), "SABUESO_EPOCHS": "2"}
    fingerprint = settings_fingerprint(pipeline, read_settings({**settings.environment, **environment}))
    picture = leave_picture(home, trained.snapshot, fingerprint)
    record, _ = run_job(FolderStore(home / "store"), settings, **environment)
    assert (record.state, "bundle-key" in record.reason) == ("failed", True)
    assert not picture.parent.parent.exists()


def test_system_metrics_wait_while_mlflow_is_down(
    server: LocalMlflow, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Metric] = []

    class FastSystemMetrics(SystemMetrics):
        def __init__(self, began_s: float) -> None:
            super().__init__(began_s, 0.05)

        def take(self) -> list[Metric]:
            new = super().take()
            taken.extend(new)
            return new

    monkeypatch.setattr(train.tracking.run, "SystemMetrics", FastSystemMetrics)
    pipeline = read_pipelines(settings.pipelines)["flowers"]
    tags = RunTags("flowers", TrainingKey("a snapshot", "a fingerprint"), "an execution", "a commit")
    run = TrackedRun(pipeline, VersionRegistry(settings), settings, None, tags)
    try:
        with run.system_metrics():
            server.stop()
            time.sleep(0.5)  # at least two samples
            run.log_metrics({"train_loss": 0.5}, step=1)
            unsent = list(taken)
            assert len(unsent) >= 12
            server.start()
            run.send_metrics()
        key = "system/cpu_utilization_percentage"
        sent = {one.timestamp for one in run.client.get_metric_history(run.run_id, key)}
        assert {one.timestamp for one in unsent if one.key == key} <= sent
        assert [one.step for one in run.client.get_metric_history(run.run_id, "train_loss")] == [1]
    finally:
        run.end("FINISHED")
