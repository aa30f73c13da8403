"""The supervisor starts training jobs and records the end of those that can't do it themselves."""

import sys
import threading
import time

import pytest

import train.retry
from common.errors import AlreadyRunning, NotFound, StoreUnavailable, Unavailable
from common.pipeline_files import read_pipelines
from common.pipelines import pick
from common.storage import keys
from common.storage.executions import Execution, begin, newest
from common.storage.leases import holder_nonce
from common.storage.training_record import TrainingRecord
from conftest import wait_until
from fake_mlflow import FakeMlflow
from train.fingerprint import settings_fingerprint
from train.retry import STORE_DOWN
from train.supervisor import Supervisor


class ScriptSupervisor(Supervisor):
    """Its jobs run a Python script instead of a training of flowers."""

    script = ""

    def command(self, *_):
        return [sys.executable, "-c", self.script]

    @property
    def flowers(self):
        return pick(read_pipelines(self.settings.pipelines), "flowers")

    def train(self):
        return self.start(self.flowers, force=False)


@pytest.fixture
def start_job(make_settings, store):
    """start_job(script, NAME="value"): the supervisor of a job that runs this script."""

    def start(script, **environment):
        supervisor = ScriptSupervisor(make_settings("flowers", **environment), store)
        supervisor.script = script
        supervisor.train()
        return supervisor

    return start


@pytest.fixture
def signal_file(tmp_path):
    """Jobs that run WAIT_FOR_FILE wait until it exists."""
    return tmp_path / "signal"


WAIT_FOR_FILE = "import os, time\nwhile not os.path.exists({path!r}): time.sleep(0.05)\n"
KILL_ITSELF = "import os; os.kill(os.getpid(), 9)"


def wait_for(file):
    """A script that waits for the file."""
    return WAIT_FOR_FILE.format(path=str(file))


def lease_is_free(store):
    return holder_nonce(store, keys.lease("flowers", "train")) is None


def executions(store):
    return list(store.list(keys.executions("flowers")))


def last_execution(store) -> Execution[TrainingRecord]:
    return newest(store, "flowers", TrainingRecord)


def wait_for_end(store):
    """The record of the last execution once it has ended and its lease is free."""
    wait_until(lambda: not last_execution(store).record.is_running)
    wait_until(lambda: lease_is_free(store))
    return last_execution(store).record


def begin_interrupted(store, **facts):
    """The id of a new execution that was interrupted."""
    time.sleep(0.005)  # executions are sorted by the millisecond
    execution = begin(store, "flowers", TrainingRecord.new(**facts))
    execution.end("interrupted")
    time.sleep(0.005)
    return execution.record.id


def test_a_cancelled_training_is_recorded_as_cancelled(start_job, store):
    supervisor = start_job("import time; time.sleep(60)")
    identity = supervisor.cancel("flowers")
    record = wait_for_end(store)
    assert (record.id, record.state, record.reason) == (identity, "cancelled", "cancelled by a person")


def test_a_training_near_the_memory_limit_is_stopped(start_job, store):
    start_job("kept = bytearray(200_000_000); import time; time.sleep(60)", SABUESO_TRAIN_MEMORY_MB="100")
    record = wait_for_end(store)
    assert record.state == "out-of-memory"
    assert "85% of the memory limit" in record.reason


ENDS = [
    ("time.sleep(60)", "cancelled", "KILLED"),
    ("kept = bytearray(200_000_000); time.sleep(60)", "out-of-memory", "FAILED"),
    ("raise RuntimeError", "failed", "FAILED"),
    ("os.kill(os.getpid(), 9)", "interrupted", None),
]


def end_of_job(start_job, store, signal_file, script, state, **environment):
    """A job with an MLflow run and decoded pictures runs the script: its record, and whether the pictures are left."""
    supervisor = start_job(wait_for(signal_file) + script, SABUESO_TRAIN_MEMORY_MB="150", **environment)
    last_execution(store).update(run_id="run-1")
    pictures = supervisor.settings.scratch / "pictures" / "flowers" / "this" / "decoded.npy"
    pictures.parent.mkdir(parents=True)
    pictures.write_bytes(b"decoded")
    signal_file.touch()
    if state == "cancelled":
        supervisor.cancel("flowers")
    return wait_for_end(store), pictures.exists()


@pytest.mark.parametrize(("script", "state", "run_status"), ENDS)
def test_a_training_that_is_not_resumed_ends_its_run_and_deletes_its_pictures(
    start_job, store, serve, tmp_path, signal_file, script, state, run_status
):
    mlflow = FakeMlflow(tmp_path / "mlflow")
    url = serve(mlflow.app).url
    record, left = end_of_job(start_job, store, signal_file, script, state, MLFLOW_TRACKING_URI=url)
    assert (record.state, mlflow.runs.get("run-1"), left) == (state, run_status, run_status is None)


@pytest.mark.parametrize(("script", "state", "run_status"), ENDS[:2])
def test_an_end_is_recorded_while_mlflow_is_down(start_job, store, signal_file, caplog, script, state, run_status):
    record, _ = end_of_job(start_job, store, signal_file, script, state)
    assert record.state == state
    assert "run not ended in MLflow" in caplog.text


def test_pages_of_mapped_files_do_not_count_as_memory_of_a_training(start_job, store):
    script = "import importlib.util as u, mmap, pathlib, sys, time\n"
    script += "libraries = pathlib.Path(u.find_spec('tensorflow').origin).parent.rglob('*.so*')\n"
    script += "file = max(libraries, key=lambda one: one.stat().st_size).open('rb')\n"
    script += "mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n"
    script += "assert sum(mapped[at] for at in range(0, 300_000_000, 4096))\ntime.sleep(2)\n"
    script += "sys.exit('reached its end')"
    start_job(script, SABUESO_TRAIN_MEMORY_MB="200")
    record = wait_for_end(store)
    assert (record.state, record.reason[-15:]) == ("failed", "reached its end")


def test_a_killed_training_is_interrupted(start_job, store):
    start_job(KILL_ITSELF)
    record = wait_for_end(store)
    assert (record.state, "SIGKILL" in record.reason) == ("interrupted", True)


def test_a_replica_that_shuts_down_interrupts_its_jobs_at_once(start_job, store):
    supervisor = start_job("import time; time.sleep(60)")
    supervisor.shut_down()
    record = last_execution(store).record
    assert (record.state, "SIGTERM" in record.reason) == ("interrupted", True)
    assert lease_is_free(store)
    with pytest.raises(Unavailable):
        supervisor.train()


def test_a_training_whose_store_stayed_down_is_interrupted(start_job, store):
    start_job(f"raise SystemExit({STORE_DOWN})")
    record = wait_for_end(store)
    assert (record.state, "object store" in record.reason) == ("interrupted", True)


def test_a_job_that_ends_without_a_reason_gets_the_last_line_of_its_log_without_traceback_and_secrets(start_job, store):
    start_job("raise RuntimeError('the cause of it is http://ana:p4ss-Zq9@host/d?key=p4ss-Zq9')")
    record = wait_for_end(store)
    assert record.state == "failed"
    assert record.reason == "the job ended with code 1: RuntimeError: the cause of it is http://host/d"


def test_a_job_gets_the_environment_of_tensorflow_unless_it_is_set(start_job, store):
    script = "import os, sys; sys.exit(os.environ['TF_ENABLE_ONEDNN_OPTS'] + os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    start_job(script, TF_CPP_MIN_LOG_LEVEL="0")
    assert wait_for_end(store).reason == "the job ended with code 1: 10"


def test_downloads_of_keras_stay_in_the_scratch_folder(start_job, store):
    supervisor = start_job("import os, sys; sys.exit(os.environ['KERAS_HOME'])")
    assert wait_for_end(store).reason == f"the job ended with code 1: {supervisor.settings.scratch / 'keras'}"


def test_a_running_job_is_not_doubled_after_its_lease_expired(start_job, store):
    supervisor = start_job("import time; time.sleep(60)", SABUESO_LEASE_S="0.2")
    wait_until(lambda: lease_is_free(store))
    with pytest.raises(AlreadyRunning):
        supervisor.train()
    assert len(executions(store)) == 1
    supervisor.cancel("flowers")
    wait_for_end(store)


def test_the_next_training_waits_for_the_lease_of_one_that_has_ended(start_job, store, signal_file):
    supervisor = start_job(wait_for(signal_file))
    last_execution(store).end("finished", reason="it is about to release its lease")
    assert not lease_is_free(store)
    threading.Timer(0.5, signal_file.touch).start()
    supervisor.train()
    assert len(executions(store)) == 2
    wait_for_end(store)


@pytest.mark.parametrize(("changed", "run"), [(False, "run-1"), (True, None)])
def test_a_resumed_training_continues_its_run_unless_the_settings_changed(start_job, store, changed, run):
    supervisor = start_job("raise SystemExit(1)")
    wait_for_end(store)
    fingerprint = "others" if changed else settings_fingerprint(supervisor.flowers, supervisor.settings)
    begin_interrupted(store, snapshot="s", settings_fingerprint=fingerprint, run_id="run-1", force=False)
    supervisor.train()
    record = wait_for_end(store)
    assert (record.resumed_snapshot, record.run_id) == ("s", run)


def test_an_end_that_the_job_recorded_itself_stays(start_job, store, signal_file):
    start_job(wait_for(signal_file))
    last_execution(store).end("finished", reason="its own reason")
    signal_file.touch()
    record = wait_for_end(store)  # the lease is released after the supervisor has checked the record
    assert (record.state, record.reason) == ("finished", "its own reason")


def test_a_job_that_recorded_its_end_can_not_be_cancelled(start_job, store, signal_file):
    supervisor = start_job(wait_for(signal_file))
    last_execution(store).end("finished", reason="it is about to exit")
    with pytest.raises(NotFound):
        supervisor.cancel("flowers")
    signal_file.touch()
    supervisor.script = KILL_ITSELF
    supervisor.train()
    record = wait_for_end(store)  # the refused cancellation does not count for the next job
    assert (record.state, "SIGKILL" in record.reason) == ("interrupted", True)


def test_a_cancellation_that_came_too_late_does_not_count_for_the_next_job(start_job, store, tmp_path, signal_file):
    ready = tmp_path / "ready"
    ignore_sigterm = "import pathlib, signal; signal.signal(15, signal.SIG_IGN)\n"
    supervisor = start_job(f"{ignore_sigterm}pathlib.Path({str(ready)!r}).touch()\n{wait_for(signal_file)}")
    wait_until(ready.exists)
    supervisor.cancel("flowers")
    last_execution(store).end("finished", reason="it was faster")
    signal_file.touch()
    supervisor.script = KILL_ITSELF
    supervisor.train()
    assert wait_for_end(store).state == "interrupted"


WAIT_UNTIL_STORE_IS_DOWN = "import os, time\nwhile os.path.isdir({root!r}): time.sleep(0.05)\n"


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("time.sleep(60)", "cancelled"),
        ("kept = bytearray(200_000_000); time.sleep(60)", "out-of-memory"),
        ("raise RuntimeError", "failed"),
    ],
)
def test_an_end_while_the_store_is_down_is_recorded_when_it_is_back(
    start_job, store, monkeypatch, caplog, script, state
):
    monkeypatch.setattr(train.retry, "FIRST_PAUSE_S", 2.0)
    script = WAIT_UNTIL_STORE_IS_DOWN.format(root=str(store.root)) + script
    supervisor = start_job(script, SABUESO_TRAIN_MEMORY_MB="150", SABUESO_LEASE_S="0.2")
    moved = store.root.rename(store.root.with_name("moved"))
    if state == "cancelled":
        with pytest.raises(StoreUnavailable):
            supervisor.cancel("flowers")
    wait_until(lambda: "waiting for a service" in caplog.text, 20)
    moved.rename(store.root)
    with pytest.raises(AlreadyRunning):
        supervisor.train()
    assert wait_for_end(store).state == state


def test_recording_an_end_is_given_up_after_retry_s(start_job, store, caplog):
    start_job(WAIT_UNTIL_STORE_IS_DOWN.format(root=str(store.root)), SABUESO_RETRY_S="0.1")
    moved = store.root.rename(store.root.with_name("moved"))
    wait_until(lambda: "job end not recorded" in caplog.text, 20)
    moved.rename(store.root)
    assert last_execution(store).record.state == "running"


def test_a_resumed_training_knows_all_its_ancestors(start_job, store):
    supervisor = start_job("raise SystemExit(1)")
    wait_for_end(store)
    before = begin_interrupted(store, snapshot="s", force=True, ancestors=["the-first"])
    supervisor.train()
    record = wait_for_end(store)
    assert (record.force, record.resumed_from, record.ancestors) == (True, before, ["the-first", before])


def test_a_resumed_training_that_dies_before_its_snapshot_passes_on_the_older_one(start_job, store):
    supervisor = start_job("raise SystemExit(1)")
    wait_for_end(store)
    fingerprint = settings_fingerprint(supervisor.flowers, supervisor.settings)
    first = begin_interrupted(store, snapshot="s", settings_fingerprint=fingerprint, run_id="run-1")
    supervisor.script = KILL_ITSELF
    for number in (2, 3):
        supervisor.train()
        record = wait_for_end(store)
        assert (record.resumed_snapshot, record.run_id) == ("s", "run-1")
        assert len(record.ancestors) == number - 1
        time.sleep(0.005)
    assert record.ancestors[0] == first


def test_a_forced_training_that_died_before_its_snapshot_is_forced_again(start_job, store):
    supervisor = start_job("raise SystemExit(1)")
    wait_for_end(store)
    begin_interrupted(store, force=True)
    supervisor.train()
    record = wait_for_end(store)
    assert (record.force, record.resumed_snapshot, len(record.ancestors)) == (True, None, 1)


def test_a_run_with_a_registered_version_is_not_resumed(start_job, store):
    supervisor = start_job("raise SystemExit(1)")
    wait_for_end(store)
    fingerprint = settings_fingerprint(supervisor.flowers, supervisor.settings)
    begin_interrupted(store, snapshot="s", settings_fingerprint=fingerprint, run_id="run-1", version="4")
    supervisor.script = KILL_ITSELF
    for _ in range(2):
        supervisor.train()
        record = wait_for_end(store)
        assert (record.resumed_snapshot, record.run_id) == ("s", None)
        time.sleep(0.005)


def test_plain_text_of_a_job_becomes_log_events(start_job, store, caplog):
    caplog.set_level("INFO", "sabueso")
    start_job("print('from native code', flush=True)")
    wait_for_end(store)
    outputs = [record.facts for record in caplog.records if record.getMessage() == "job output"]
    assert outputs == [{"pipeline": "flowers", "text": "from native code"}]


def test_the_last_output_of_a_job_is_logged_without_a_line_end(start_job, store, caplog):
    caplog.set_level("INFO", "sabueso")
    start_job("import sys; sys.stdout.write('aborted'); sys.stdout.flush()")
    wait_for_end(store)
    assert "aborted" in [record.facts.get("text") for record in caplog.records]


def test_the_reason_of_a_failure_is_readable_although_the_log_is_json(start_job, store):
    event = r'{"event": "the training failed", "error": "Traceback\n  File x.py, line 7\nValueError: no such column"}'
    start_job(f"import sys; print({event!r}, flush=True); sys.exit(1)")
    assert wait_for_end(store).reason == "the job ended with code 1: the training failed ValueError: no such column"
