"""A train function on a real MLflow whose jobs are killed at chosen moments: `Killing`."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import requests

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

HERE = Path(__file__).resolve().parent
BUDGET_S, LEASE_S, WAIT_S = 3, 6, 900
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
            "SABUESO_BUDGET_S": str(BUDGET_S),
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
            for child in psutil.Process(self.function.process.pid).children():  # type: ignore[union-attr]
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
