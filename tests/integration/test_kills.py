"""Jobs of training killed at random moments: each is taken up or starts over, and nobody is served half a version."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus

from common.executions import history
from conftest import wait_until
from killing import Killing, draw_moments
from train.job import FINISHED

pytestmark = pytest.mark.integration
KILLS, SEED, FIRST_ROWS, GROWTH = 20, 6, 600, 0.12


@pytest.mark.timeout(7200)  # five minutes on two free cores; on a busy machine each end is waited for
def test_jobs_killed_at_twenty_random_moments_end_well_each_time(tmp_path: Path) -> None:
    with Killing(tmp_path) as killing:
        killing.add_rows(FIRST_ROWS)
        began = time.monotonic()
        assert killing.train_to_the_end()["decision"] == "promoted"
        whole_s = time.monotonic() - began
        killed = []
        for number, moment in enumerate(draw_moments(SEED, KILLS)):
            stage = None
            while stage is None:  # a job that was quicker leaves the moment to the next one
                if killing.newest()["state"] == "finished" or number % 4 == 1:
                    killing.add_rows(int(GROWTH * killing.rows))
                stage = killing.kill_at(moment, whole_s, with_function=number % 5 == 4)
            killed.append((moment, stage))
            print(f"{time.monotonic() - began:.0f} s: {moment}: {stage}", flush=True)
        assert len(killed) == KILLS
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
    """One for each snapshot, judged, with its reason, whole; and whoever was champion was so."""
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
    wait_until(lambda: {path.name for path in scratch.rglob("*") if path.is_file()} == {"train-flowers.log"})
