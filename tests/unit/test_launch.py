"""How the parent of a training records an end that the job could not record itself."""

import sys
import time

import pytest

from common.errors import AlreadyRunning
from common.executions import begin, history
from common.leases import held_by
from common.pipelines import pick, read_pipelines
from conftest import wait_until
from train.job import settings_fingerprint
from train.launch import FIRST, Launcher
from train.patience import AWAY


class Script(Launcher):
    """Its jobs run a line of Python in place of the training."""

    line = ""

    def command(self, *_):
        return [sys.executable, "-c", self.line]


@pytest.fixture
def launched(make_settings, store):
    """start(line, NAME="value"): the launcher whose job runs that line, and the pipeline it trains."""

    def start(line, **environment):
        settings = make_settings("flowers", **environment)
        launcher = Script(settings, store)
        launcher.line = line
        launcher.start(pick(read_pipelines(settings.pipelines), "flowers"), force=False)
        return launcher

    return start


def ended(store):
    wait_until(lambda: history(store, "flowers", "train")[0].body["state"] != "running", 20)
    wait_until(lambda: held_by(store, "jobs/flowers/train.json") is None, 5)
    return history(store, "flowers", "train")[0].body


def test_a_training_that_a_person_cancels_is_recorded_as_cancelled(launched, store):
    launcher = launched("import time; time.sleep(60)")
    identity = launcher.cancel("flowers")
    record = ended(store)
    assert (record["id"], record["state"], record["reason"]) == (identity, "cancelled", "cancelled by a person")


def test_a_training_near_the_memory_limit_is_stopped_before_the_platform_does(launched, store):
    launched("kept = bytearray(200_000_000); import time; time.sleep(60)", SABUESO_TRAIN_MEMORY_MB="100")
    record = ended(store)
    assert record["state"] == "out-of-memory"
    assert "85% of the memory limit" in record["reason"]


def test_a_training_that_was_killed_is_taken_up_later(launched, store):
    launched("import os; os.kill(os.getpid(), 9)")
    record = ended(store)
    assert (record["state"], "SIGKILL" in record["reason"]) == ("interrupted", True)


def test_a_training_whose_store_stayed_away_is_taken_up_later(launched, store):
    launched(f"raise SystemExit({AWAY})")
    record = ended(store)
    assert (record["state"], "object store" in record["reason"]) == ("interrupted", True)


def test_a_training_that_broke_tells_the_end_of_its_log(launched, store):
    launched("raise RuntimeError('the cause of it')")
    record = ended(store)
    assert record["state"] == "failed"
    assert "the cause of it" in record["reason"]


def test_a_job_that_lives_is_not_doubled_although_its_lease_ran_out(launched, store):
    launcher = launched("import time; time.sleep(60)", SABUESO_LEASE_S="0.2")
    wait_until(lambda: held_by(store, "jobs/flowers/train.json") is None, 5)
    pipeline = pick(read_pipelines(launcher.settings.pipelines), "flowers")
    with pytest.raises(AlreadyRunning):
        launcher.start(pipeline, force=False)
    assert len(history(store, "flowers", "train")) == 1
    launcher.cancel("flowers")
    ended(store)


def test_a_training_asked_for_while_the_last_one_leaves_waits_for_its_lease(launched, store):
    launcher = launched("import time; time.sleep(3)")
    history(store, "flowers", "train")[0].end("finished", reason="it said so, and is about to give its lease back")
    assert held_by(store, "jobs/flowers/train.json") is not None
    pipeline = pick(read_pipelines(launcher.settings.pipelines), "flowers")
    launcher.start(pipeline, force=False)
    assert len(history(store, "flowers", "train")) == 2
    ended(store)


@pytest.mark.parametrize(("changed", "run"), [(False, "run-1"), (True, None)])
def test_an_interrupted_training_goes_on_in_its_run_unless_the_settings_changed(launched, store, changed, run):
    launcher = launched("raise SystemExit(1)")
    ended(store)
    pipeline = pick(read_pipelines(launcher.settings.pipelines), "flowers")
    settings = "others" if changed else settings_fingerprint(pipeline, pipeline.train.budget_s)
    facts = {**FIRST, "snapshot": "s", "settings": settings, "run_id": "run-1", "force": False}
    begin(store, "flowers", "train", facts).end("interrupted")
    launcher.start(pipeline, force=False)
    record = ended(store)
    assert (record["resumed_snapshot"], record["run_id"]) == ("s", run)


def test_what_the_job_recorded_itself_stays(launched, store):
    launcher = launched("import time; time.sleep(1)")
    record = history(store, "flowers", "train")[0]
    record.end("finished", reason="its own words")
    wait_until(lambda: launcher._children["flowers"].poll() is not None, 10)
    time.sleep(1)
    found = history(store, "flowers", "train")[0].body
    assert (found["state"], found["reason"]) == ("finished", "its own words")
