"""A train function on a real MLflow whose jobs are killed at chosen moments: `survive`."""

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
from typing import Any

import mlflow
import psutil
import requests
from mlflow.entities import LoggedModelStatus

from common.bundle import Bundle
from common.datasets import Dataset
from common.executions import history
from common.leases import held_by
from common.objects import FolderObjects
from common.registry import Registry
from common.settings import read_settings
from conftest import KEY, TOKEN, Served, wait_until
from deployed import Function
from flowers import flower_rows
from local_mlflow import LocalMlflow
from ports import free_port
from tapped_mlflow import Moment, Tap
from train.job import FINISHED

HERE = Path(__file__).resolve().parent
EPOCHS, LEASE_S, WAIT_S = 8, 6, 900
FIRST_ROWS, GROWTH = 600, 0.12
STAGES = (
    *("starting", "reading examples", "snapshot taken", "preparing", "planning epochs", "epoch", "exporting"),
    *("evaluating", "registering", "gate", "done"),
)
# Calls of MLflow in the order of a training, and which of its kind: 0 is one of the uploads.
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
    """Every call above, some stages, the rest spread over the time of a training; in an order of chance."""
    chance = random.Random(seed)
    found = [Moment("stage", stage, chance.random()) for stage in chance.sample(STAGES[1:], STAGES_DRAWN)]
    found += [Moment(kind, call, turn=turn or chance.randint(1, UPLOADS)) for kind, call, turn in CALLS]
    timed = kills - len(found)
    found += [Moment("time", share=(number + chance.random()) / timed) for number in range(timed)]
    chance.shuffle(found)
    return found


class Killing:
    """The function, its MLflow, its data, and somebody who looks at the champion all the time."""

    def __init__(self, home: Path) -> None:
        self.home, self.rows = home, 0
        self.store = FolderObjects(home / "store")
        self.mlflow = LocalMlflow(home / "mlflow")
        self.tap = Tap(self.mlflow.url)
        self.champions: list[str] = []
        self.wrong: list[str] = []
        (home / "secrets").mkdir()
        for name, text in {"train-token": TOKEN["Authorization"].split()[1], "bundle-key": KEY}.items():
            (home / "secrets" / name).write_text(text)
        (home / "pipelines").mkdir()
        flowers = (HERE / "pipelines" / "flowers.toml").read_text()
        # The fits are too short to be good: nearly all are to become champion all the same.
        (home / "pipelines" / "flowers.toml").write_text(f"{flowers}\n[gate]\nfloor = 0.01\nmin_gain = 0.9\n")
        self._over = threading.Event()

    def __enter__(self) -> Killing:
        self.mlflow.start()
        self.served = Served(self.tap.app)
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
        self.registry = Registry(read_settings({**environment, "MLFLOW_TRACKING_URI": self.mlflow.url}))
        environment["MLFLOW_TRACKING_URI"] = self.served.url
        self.function = Function("train", port, environment, self.home)
        self.function.start()
        self._looker = threading.Thread(target=self._look, daemon=True)
        self._looker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looker.join()
        self.function.stop()
        self.served.stop()
        self.mlflow.stop()

    def add_rows(self, count: int) -> None:
        """New data: one sample more."""
        meta = {"format": "json", "time": f"{self.rows:06}", "made_up": True, "intent": None}
        body = json.dumps({"data": flower_rows(count, seed=self.rows)}).encode()
        assert Dataset(self.store, "flowers").add_sample(1, body, meta)
        self.rows += count

    def newest(self) -> dict[str, Any]:
        return history(self.store, "flowers", "train", most=1)[0].body

    def ask(self) -> str:
        """POST train/flowers as a tick does, again while the lease of a dead machine has not run out."""
        until = time.monotonic() + WAIT_S
        while True:
            answer = requests.post(f"{self.function.url}/flowers", json={"force": False}, headers=TOKEN, timeout=60)
            if answer.status_code == 202:
                return str(answer.json()["id"])
            assert answer.status_code == 409, answer.text
            assert time.monotonic() < until, answer.text
            self._over.wait(0.1)

    def job(self) -> psutil.Process | None:
        """The living job, the newest one: that of before may still be leaving."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.function.process.pid).children(recursive=True):  # type: ignore[union-attr]
                with contextlib.suppress(psutil.NoSuchProcess):
                    if _lives(child) and "train.job" in child.cmdline():
                        found.append(child)
        return max(found, key=lambda one: one.create_time(), default=None)

    def train_to_the_end(self) -> dict[str, Any]:
        """Ask, and again if it was interrupted, until it has finished; the record."""
        while True:
            self.ask()
            wait_until(lambda: self.newest()["state"] != "running", WAIT_S)
            if self.newest()["state"] != "interrupted":
                record = self.newest()
                assert record["state"] == "finished", record["reason"]
                return record

    def kill_at(self, moment: Moment, whole_s: float, with_function: bool) -> str | None:
        """Ask, and kill the job at the moment; the stage it was in, or None if it ended before."""
        killed: list[str] = []

        def kill() -> None:
            job = self.job()
            if job is None:
                return
            killed.append(self._stage())
            if with_function:  # as when the machine dies: nobody is left to record it or to give the lease back
                self.function.stop(signal.SIGKILL)
            else:
                job.kill()
                wait_until(lambda: not _lives(job), WAIT_S)

        self.tap.arm(moment, kill)
        self.ask()
        began = time.monotonic()
        if moment.kind == "time":
            wait_until(lambda: time.monotonic() - began > moment.share * whole_s or self._ended(), WAIT_S)
            kill()
        elif moment.kind == "stage":
            wait_until(lambda: self._reached(moment.what) or self._ended(), WAIT_S)
            reached = time.monotonic()
            wait_until(lambda: time.monotonic() - reached > moment.share or self.job() is None, WAIT_S)
            kill()
        else:
            wait_until(lambda: self.tap.fired.is_set() or self._ended(), WAIT_S)
            wait_until(lambda: self.tap.fired.is_set() or not killed, WAIT_S)  # the record may be quicker than the tap
        self.tap.arm(Moment("never"), lambda: None)
        if killed and with_function:
            self.function.start()
        return killed[0] if killed else None

    def _ended(self) -> bool:
        """Also if it was interrupted by something else than this test."""
        return self.newest()["state"] != "running"

    def _stage(self) -> str:
        stage = str(self.newest()["stage"])
        return "epoch" if stage.startswith("epoch") else stage

    def _reached(self, stage: str) -> bool:
        now = self._stage()
        return now in STAGES and STAGES.index(now) >= STAGES.index(stage)

    def free(self) -> bool:
        return held_by(self.store, "jobs/flowers/train.json") is None

    def _look(self) -> None:
        """Whoever the alias names is whole, at every look."""
        while not self._over.wait(0.2):
            try:
                version = self.registry.version_of("flowers")
                if version is not None and version not in self.champions[-1:]:
                    self.check_whole(version)
                    self.champions.append(version)
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")

    def check_whole(self, version: str) -> None:
        """Raises BundleRefused if classify would refuse the version."""
        with tempfile.TemporaryDirectory(dir=self.home) as folder:
            self.registry.download_bundle("flowers", version, Path(folder))
            Bundle(Path(folder), KEY).check_golden()


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def survive(home: Path, moments: Sequence[Moment]) -> None:
    """Train, kill the job at each of the moments (every fifth time with its function), and check what is there."""
    with Killing(home) as killing:
        killing.add_rows(FIRST_ROWS)
        began = time.monotonic()
        assert killing.train_to_the_end()["decision"] == "promoted"
        whole_s = time.monotonic() - began
        killed = []
        for number, moment in enumerate(moments):
            stage = None
            while stage is None:  # a job that was quicker leaves the moment to the next one
                if killing.newest()["state"] == "finished" or number % 4 == 1:
                    killing.add_rows(int(GROWTH * killing.rows))
                stage = killing.kill_at(moment, whole_s, with_function=number % 5 == 4 or number == len(moments) - 1)
            killed.append((moment, stage))
            print(f"{time.monotonic() - began:.0f} s: {moment}: {stage}", flush=True)
        while killing.train_to_the_end()["decision"] != "skipped":
            pass
        wait_until(killing.free)
        check_executions(killing, killed)
        check_versions(killing)
        check_runs(killing)
        check_nothing_is_left(killing)


def check_executions(killing: Killing, killed: list[tuple[object, str]]) -> None:
    records = [one.body for one in history(killing.store, "flowers", "train", most=500)]
    assert {one["state"] for one in records} == {"finished", "interrupted"}
    # What was killed after it had said its end is finished, all else was taken up.
    assert sum(one["state"] == "interrupted" for one in records) >= sum(stage != "done" for _, stage in killed)
    followed = {one["resumed_from"] for one in records}
    left = [one["id"] for one in records if one["state"] == "interrupted" and one["snapshot"]]
    assert set(left) <= followed
    finished = {one["snapshot"] for one in records if one["state"] == "finished"}
    assert {one["snapshot"] for one in records if one["snapshot"]} == finished


def check_versions(killing: Killing) -> None:
    """Each snapshot has one version, whole and judged with a reason; the champion is the last that was promoted."""
    versions = {one["version"]: one["tags"] for one in killing.registry.versions("flowers")}
    made = Counter((tags["sabueso.snapshot"], tags["sabueso.settings"]) for tags in versions.values())
    assert set(made.values()) == {1}
    for version, tags in versions.items():
        assert tags["sabueso.decision"] in FINISHED
        assert tags["sabueso.reason"] and tags["sabueso.gate"]
        killing.check_whole(version)
    firsts = [version for version, tags in versions.items() if tags["sabueso.reason"].startswith("the first version")]
    assert firsts == ["1"]
    assert killing.wrong == []
    promoted = [version for version, tags in versions.items() if tags["sabueso.decision"] == "promoted"]
    assert killing.registry.version_of("flowers") == max(promoted, key=int)
    assert len(set(killing.champions)) >= 2


def check_runs(killing: Killing) -> None:
    """One for each version, at its end, with one model, which is whole."""
    client = mlflow.MlflowClient(killing.mlflow.url, killing.mlflow.url)
    experiment = client.get_experiment_by_name("sabueso-flowers").experiment_id
    runs = {run.info.run_id: run for run in client.search_runs([experiment])}
    made = Counter(one["run_id"] for one in killing.registry.versions("flowers"))
    assert made == Counter(runs.keys())
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    models = client.search_logged_models([experiment], max_results=200)
    assert Counter(one.source_run_id for one in models) == made
    assert {one.status for one in models} == {LoggedModelStatus.READY}
    for run in runs:
        steps = {point.step for point in client.get_metric_history(run, "tune_accuracy")}
        assert steps == set(range(1, len(steps) + 1))


def check_nothing_is_left(killing: Killing) -> None:
    checkpoints = list(killing.store.list("jobs/flowers/checkpoints/"))
    assert {key.rpartition("/")[2] for key in checkpoints} == {"plan.json"}
    scratch = killing.home / "scratch"

    def left() -> set[str]:
        files = {path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file()}
        return {path.name for path in files if path.parts[0] not in ("metrics", "keras")}

    wait_until(lambda: left() == {"train-flowers.log"})
