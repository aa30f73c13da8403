"""A train function on a real MLflow whose jobs are killed at chosen moments: `check_killed_trainings`."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import mlflow
import psutil
import requests
from mlflow.entities import LoggedModelStatus

from all_settings import read_settings
from common.inference.bundle import Bundle
from common.storage import keys
from common.storage.dataset import Dataset
from common.storage.executions import history
from common.storage.folder import FolderStore
from common.storage.leases import holder_nonce
from common.storage.training_record import TrainingRecord
from conftest import KEY, TOKEN, Served, wait_until
from deployed import Function
from flowers import flower_rows
from local_mlflow import LocalMlflow
from mlflow_proxy import MlflowProxy, Moment
from ports import free_port
from stored import sample_meta
from train.registry import VersionRegistry
from train.version_tags import FINAL_DECISIONS

HERE = Path(__file__).resolve().parent
EPOCHS, LEASE_S, WAIT_S = 8, 6, 900
FIRST_ROWS, GROWTH = 600, 0.12
STAGES = (
    *("starting", "reading examples", "snapshot taken", "preparing", "planning epochs", "epoch", "exporting"),
    *("evaluating", "registering", "gate", "done"),
)
# (before or after, call of MLflow, how often it was called) in the order of a training. 0: any of the uploads.
CALLS = (
    ("after", "POST runs/create", 1),
    ("before", "PUT artifacts", 0),
    ("after", "PUT artifacts", 0),
    ("after", "POST model-versions/create", 1),
    ("before", "POST registered-models/alias", 1),
    ("after", "POST registered-models/alias", 1),
    ("after", "POST runs/update", 2),  # the first begins the run, the second ends it
    ("after", "POST model-versions/set-tag", 1),
    ("after", "POST model-versions/set-tag", 3),
)
UPLOADS, STAGES_DRAWN = 15, 5


def draw_moments(seed: int, kills: int) -> list[Moment]:
    """Each of CALLS, some stages, and moments spread over the time of a training; in random order."""
    chance = random.Random(seed)
    moments = [Moment("stage", stage, chance.random()) for stage in chance.sample(STAGES[1:], STAGES_DRAWN)]
    moments += [Moment(kind, call, turn=turn or chance.randint(1, UPLOADS)) for kind, call, turn in CALLS]
    timed = kills - len(moments)
    moments += [Moment("time", share=(number + chance.random()) / timed) for number in range(timed)]
    chance.shuffle(moments)
    return moments


class TrainDeployment:
    """The function, its MLflow, its data, and a thread that checks each new champion."""

    def __init__(self, home: Path) -> None:
        self.home, self.rows = home, 0
        self.store = FolderStore(home / "store")
        self.mlflow = LocalMlflow(home / "mlflow")
        self.proxy = MlflowProxy(self.mlflow.url)
        self.champions: list[str] = []
        self.errors: list[str] = []
        (home / "secrets").mkdir()
        for name, text in {"train-token": TOKEN["Authorization"].split()[1], "bundle-key": KEY}.items():
            (home / "secrets" / name).write_text(text)
        (home / "pipelines").mkdir()
        flowers = (HERE / "pipelines" / "flowers.toml").read_text()
        # Short fits are not good, but nearly all must become champion.
        (home / "pipelines" / "flowers.toml").write_text(f"{flowers}\n[gate]\nfloor = 0.01\nmin_gain = 0.9\n")
        self._stop = threading.Event()

    def __enter__(self) -> TrainDeployment:
        self.mlflow.start()
        self.served = Served(self.proxy.app)
        port = free_port()
        environment = {
            "FUNCTION": "train",
            "PORT": str(port),
            "HOST": "127.0.0.1",
            "SABUESO_STORE": f"file://{self.home}/store",
            "SABUESO_SECRETS": str(self.home / "secrets"),
            "SABUESO_SCRATCH": str(self.home / "scratch"),
            "SABUESO_PIPELINES": str(self.home / "pipelines"),
            "SABUESO_EPOCHS": str(EPOCHS),
            "SABUESO_LEASE_S": str(LEASE_S),
            "TF_NUM_INTRAOP_THREADS": "2",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        self.registry = VersionRegistry(read_settings({**environment, "MLFLOW_TRACKING_URI": self.mlflow.url}))
        environment["MLFLOW_TRACKING_URI"] = self.served.url
        self.function = Function("train", port, environment, self.home)
        self.function.start()
        self._watcher = threading.Thread(target=self._watch_champion, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watcher.join()
        self.function.stop()
        self.served.stop()
        self.mlflow.stop()

    def add_rows(self, count: int) -> None:
        """Add one sample of that many rows."""
        body = json.dumps({"data": flower_rows(count, seed=self.rows)}).encode()
        meta = sample_meta(body, 1, time=f"{self.rows:06}")
        assert Dataset(self.store, "flowers").add_sample(body, meta)
        self.rows += count

    def newest(self) -> TrainingRecord:
        return history(self.store, "flowers", TrainingRecord, limit=1)[0].record

    def start_training(self) -> str:
        """POST train/flowers as a tick does, until the lease of a dead machine has expired; the id."""
        until = time.monotonic() + WAIT_S
        while True:
            answer = requests.post(f"{self.function.url}/flowers", json={"force": False}, headers=TOKEN, timeout=60)
            if answer.status_code == 202:
                return str(answer.json()["id"])
            assert answer.status_code == 409, answer.text
            assert time.monotonic() < until, answer.text
            self._stop.wait(0.1)

    def job(self) -> psutil.Process | None:
        """The newest running job: an earlier one may still be exiting."""
        jobs = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.function.process.pid).children(recursive=True):  # type: ignore[union-attr]
                with contextlib.suppress(psutil.NoSuchProcess):
                    if _is_alive(child) and "train.job" in child.cmdline():
                        jobs.append(child)
        return max(jobs, key=lambda job: job.create_time(), default=None)

    def train(self) -> TrainingRecord:
        """Start a training, again after each interruption, until one has finished; its record."""
        while True:
            self.start_training()
            wait_until(lambda: not self.newest().is_running, WAIT_S)
            if self.newest().state != "interrupted":
                record = self.newest()
                assert record.state == "finished", record.reason
                return record

    def kill_at(self, moment: Moment, whole_s: float, with_function: bool) -> str | None:
        """Start a training and kill the job at that moment; its stage, or None if it ended before."""
        killed: list[str] = []

        def kill() -> None:
            job = self.job()
            if job is None:
                return
            killed.append(self._stage())
            if with_function:  # as when the machine dies: nothing records the end or releases the lease
                self.function.stop(signal.SIGKILL)
            else:
                job.kill()
                wait_until(lambda: not _is_alive(job), WAIT_S)

        self.proxy.arm(moment, kill)
        self.start_training()
        began = time.monotonic()
        if moment.kind == "time":
            wait_until(lambda: time.monotonic() - began > moment.share * whole_s or self._has_ended(), WAIT_S)
            kill()
        elif moment.kind == "stage":
            wait_until(lambda: self._has_reached(moment.what) or self._has_ended(), WAIT_S)
            reached = time.monotonic()
            wait_until(lambda: time.monotonic() - reached > moment.share or self.job() is None, WAIT_S)
            kill()
        else:
            wait_until(lambda: self.proxy.fired.is_set() or self._has_ended(), WAIT_S)
            # The record may be written before the proxy has noticed.
            wait_until(lambda: self.proxy.fired.is_set() or not killed, WAIT_S)
        self.proxy.disarm()
        if killed and with_function:
            self.function.start()
        return killed[0] if killed else None

    def _has_ended(self) -> bool:
        return not self.newest().is_running

    def _stage(self) -> str:
        stage = self.newest().stage
        return "epoch" if stage.startswith("epoch") else stage

    def _has_reached(self, stage: str) -> bool:
        current = self._stage()
        return current in STAGES and STAGES.index(current) >= STAGES.index(stage)

    def lease_is_free(self) -> bool:
        return holder_nonce(self.store, keys.lease("flowers", "train")) is None

    def _watch_champion(self) -> None:
        """Check that every version with the alias is complete."""
        while not self._stop.wait(0.2):
            try:
                version = self.registry.version_of("flowers")
                if version is not None and version not in self.champions[-1:]:
                    self.check_bundle(version)
                    self.champions.append(version)
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")

    def check_bundle(self, version: str) -> None:
        """Raises BundleRefused if classify would refuse the version."""
        with tempfile.TemporaryDirectory(dir=self.home) as folder:
            self.registry.download_bundle("flowers", version, Path(folder))
            Bundle(Path(folder), KEY).check_golden()


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def check_killed_trainings(home: Path, moments: Sequence[Moment]) -> None:
    """Kill a job at each of the moments, every fifth time with its function; then check records, versions and runs."""
    with TrainDeployment(home) as deployment:
        deployment.add_rows(FIRST_ROWS)
        began = time.monotonic()
        assert deployment.train().decision == "promoted"
        whole_s = time.monotonic() - began
        killed = []
        for number, moment in enumerate(moments):
            stage = None
            while stage is None:  # if the job ended before the moment, kill the next one
                if deployment.newest().state == "finished" or number % 4 == 1:
                    deployment.add_rows(int(GROWTH * deployment.rows))
                stage = deployment.kill_at(moment, whole_s, with_function=number % 5 == 4 or number == len(moments) - 1)
            killed.append((moment, stage))
            print(f"{time.monotonic() - began:.0f} s: {moment}: {stage}", flush=True)
        while deployment.train().decision != "skipped":
            pass
        wait_until(deployment.lease_is_free)
        check_executions(deployment, killed)
        check_versions(deployment)
        check_runs(deployment)
        check_leftovers(deployment)


def check_executions(deployment: TrainDeployment, killed: list[tuple[object, str]]) -> None:
    records = [one.record for one in history(deployment.store, "flowers", TrainingRecord, limit=500)]
    assert {one.state for one in records} == {"finished", "interrupted"}
    # A job killed after it had recorded its end is finished; every other one was resumed.
    assert sum(one.state == "interrupted" for one in records) >= sum(stage != "done" for _, stage in killed)
    resumed = {one.resumed_from for one in records}
    assert {one.id for one in records if one.state == "interrupted" and one.snapshot} <= resumed
    finished = {one.snapshot for one in records if one.state == "finished"}
    assert {one.snapshot for one in records if one.snapshot} == finished


def check_versions(deployment: TrainDeployment) -> None:
    """Each snapshot has one version, complete, with a decision and a reason; the champion is the last promoted one."""
    versions = {one.number: one.tags for one in deployment.registry.versions("flowers")}
    trainings = Counter((tags.snapshot, tags.settings_fingerprint) for tags in versions.values())
    assert set(trainings.values()) == {1}
    for version, tags in versions.items():
        assert tags.decision in FINAL_DECISIONS
        assert tags.reason
        deployment.check_bundle(version)
    first_versions = [version for version, tags in versions.items() if str(tags.reason).startswith("the first version")]
    assert first_versions == ["1"]
    assert deployment.errors == []
    promoted = [version for version, tags in versions.items() if tags.decision == "promoted"]
    assert deployment.registry.version_of("flowers") == max(promoted, key=int)
    assert len(set(deployment.champions)) >= 2


def check_runs(deployment: TrainDeployment) -> None:
    """Each version has one finished run with one complete model."""
    client = mlflow.MlflowClient(deployment.mlflow.url, deployment.mlflow.url)
    experiment = client.get_experiment_by_name("sabueso-flowers").experiment_id
    runs = {run.info.run_id: run for run in client.search_runs([experiment])}
    per_version = Counter(one.run_id for one in deployment.registry.versions("flowers"))
    assert per_version == Counter(runs.keys())
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    models = client.search_logged_models([experiment], max_results=200)
    assert Counter(one.source_run_id for one in models) == per_version
    assert {one.status for one in models} == {LoggedModelStatus.READY}
    for run in runs:
        steps = {point.step for point in client.get_metric_history(run, "tune_accuracy")}
        assert steps == set(range(1, len(steps) + 1))


def check_leftovers(deployment: TrainDeployment) -> None:
    checkpoints = list(deployment.store.list(keys.checkpoints("flowers")))
    assert {key.rpartition("/")[2] for key in checkpoints} == {"plan.json"}
    scratch = deployment.home / "scratch"

    def leftovers() -> set[str]:
        files = {path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file()}
        return {path.name for path in files if path.parts[0] not in ("metrics", "keras")}

    wait_until(lambda: leftovers() == {"train-flowers.log"})
