"""How the parent of a training records an end that the job could not record itself."""

import sys
import time

import pytest

from common.executions import history
from common.leases import held_by
from conftest import wait_until
from train.launch import Launcher
from train.patience import AWAY


class Script(Launcher):
    """Its jobs run a line of Python in place of the training."""

    line = ""

    def command(self, *_):
        return [sys.executable, "-c", self.line]


@pytest.fixture
def launched(make_settings, store):
    """start(line, NAME="value"): the launcher whose job runs that line, and the pipeline it trains."""
    from common.pipelines import pick, read_pipelines

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


def test_what_the_job_recorded_itself_stays(launched, store):
    launcher = launched("import time; time.sleep(1)")
    record = history(store, "flowers", "train")[0]
    record.end("finished", reason="its own words")
    wait_until(lambda: launcher._children["flowers"].poll() is not None, 10)
    time.sleep(1)
    found = history(store, "flowers", "train")[0].body
    assert (found["state"], found["reason"]) == ("finished", "its own words")
