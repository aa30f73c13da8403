"""How the parent of a training records an end that the job could not record itself."""

import sys
import threading
import time

import pytest

from common.errors import AlreadyRunning, NotFound, StoreUnavailable, Unavailable
from common.executions import begin, history
from common.leases import held_by
from common.pipelines import pick, read_pipelines
from conftest import wait_until
from fake_mlflow import FakeMlflow
from train import patience
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


@pytest.fixture
def gate(tmp_path):
    """A file that jobs of the line UNTIL_THE_GATE wait for."""
    return tmp_path / "gate"


UNTIL_THE_GATE = "import os, time\nwhile not os.path.exists({gate!r}): time.sleep(0.05)\n"


def ended(store):
    wait_until(lambda: history(store, "flowers", "train")[0].body["state"] != "running")
    wait_until(lambda: held_by(store, "jobs/flowers/train.json") is None)
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


ENDS = [
    ("time.sleep(60)", "cancelled", "KILLED"),
    ("kept = bytearray(200_000_000); time.sleep(60)", "out-of-memory", "FAILED"),
    ("raise RuntimeError", "failed", "FAILED"),
    ("os.kill(os.getpid(), 9)", "interrupted", None),
]


def left_by(launched, store, gate, then, state, **environment):
    """The record of a job that had an MLflow run and decoded pictures when it did `then`; whether those stayed."""
    launcher = launched(UNTIL_THE_GATE.format(gate=str(gate)) + then, SABUESO_TRAIN_MEMORY_MB="150", **environment)
    history(store, "flowers", "train")[0].update(run_id="run-1")
    pictures = launcher.settings.scratch / "pictures" / "flowers" / "this" / "decoded.npy"
    pictures.parent.mkdir(parents=True)
    pictures.write_bytes(b"decoded")
    gate.touch()
    if state == "cancelled":
        launcher.cancel("flowers")
    return ended(store), pictures.exists()


@pytest.mark.parametrize(("then", "state", "status"), ENDS)
def test_the_run_of_a_training_that_nobody_takes_up_is_ended_and_its_pictures_leave(
    launched, store, serve, tmp_path, gate, then, state, status
):
    mlflow = FakeMlflow(tmp_path / "mlflow")
    url = serve(mlflow.app).url
    record, stayed = left_by(launched, store, gate, then, state, MLFLOW_TRACKING_URI=url)
    assert (record["state"], mlflow.runs.get("run-1"), stayed) == (state, status, status is None)


@pytest.mark.parametrize(("then", "state", "status"), ENDS[:2])
def test_an_end_is_recorded_without_mlflow_too(launched, store, gate, caplog, then, state, status):
    record, _ = left_by(launched, store, gate, then, state)
    assert record["state"] == state
    assert "run not ended in MLflow" in caplog.text


def test_pages_of_mapped_files_are_no_memory_that_a_training_needs(launched, store):
    line = "import importlib.util as u, mmap, pathlib, sys, time\n"
    line += "found = pathlib.Path(u.find_spec('tensorflow').origin).parent.rglob('*.so*')\n"
    line += "file = max(found, key=lambda one: one.stat().st_size).open('rb')\n"
    line += "mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n"
    line += "assert sum(mapped[at] for at in range(0, 300_000_000, 4096))\ntime.sleep(2)\n"
    line += "sys.exit('it came to its end')"
    launched(line, SABUESO_TRAIN_MEMORY_MB="200")
    record = ended(store)
    assert (record["state"], record["reason"][-18:]) == ("failed", "it came to its end")


def test_a_training_that_was_killed_is_taken_up_later(launched, store):
    launched("import os; os.kill(os.getpid(), 9)")
    record = ended(store)
    assert (record["state"], "SIGKILL" in record["reason"]) == ("interrupted", True)


def test_the_jobs_of_a_replica_that_ends_are_taken_up_by_another_at_once(launched, store):
    launcher = launched("import time; time.sleep(60)")
    launcher.end()
    record = history(store, "flowers", "train")[0].body
    assert (record["state"], "SIGTERM" in record["reason"]) == ("interrupted", True)
    assert held_by(store, "jobs/flowers/train.json") is None
    with pytest.raises(Unavailable):
        launcher.start(pick(read_pipelines(launcher.settings.pipelines), "flowers"), force=False)


def test_a_training_whose_store_stayed_away_is_taken_up_later(launched, store):
    launched(f"raise SystemExit({AWAY})")
    record = ended(store)
    assert (record["state"], "object store" in record["reason"]) == ("interrupted", True)


def test_a_training_that_broke_tells_the_end_of_its_log(launched, store):
    launched("raise RuntimeError('the cause of it')")
    record = ended(store)
    assert record["state"] == "failed"
    assert "the cause of it" in record["reason"]


def test_a_job_starts_with_what_tensorflow_reads_at_its_start_and_what_was_set_stays(launched, store):
    line = "import os, sys; sys.exit(os.environ['TF_ENABLE_ONEDNN_OPTS'] + os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    launched(line, TF_CPP_MIN_LOG_LEVEL="0")
    assert ended(store)["reason"] == "the job ended with code 1: 10"


def test_what_keras_downloads_stays_in_the_scratch_folder(launched, store):
    launcher = launched("import os, sys; sys.exit(os.environ['KERAS_HOME'])")
    assert ended(store)["reason"] == f"the job ended with code 1: {launcher.settings.scratch / 'keras'}"


def test_a_job_that_lives_is_not_doubled_although_its_lease_ran_out(launched, store):
    launcher = launched("import time; time.sleep(60)", SABUESO_LEASE_S="0.2")
    wait_until(lambda: held_by(store, "jobs/flowers/train.json") is None)
    pipeline = pick(read_pipelines(launcher.settings.pipelines), "flowers")
    with pytest.raises(AlreadyRunning):
        launcher.start(pipeline, force=False)
    assert len(history(store, "flowers", "train")) == 1
    launcher.cancel("flowers")
    ended(store)


def test_a_training_asked_for_while_the_last_one_leaves_waits_for_its_lease(launched, store, gate):
    launcher = launched(UNTIL_THE_GATE.format(gate=str(gate)))
    history(store, "flowers", "train")[0].end("finished", reason="it said so, and is about to give its lease back")
    assert held_by(store, "jobs/flowers/train.json") is not None
    pipeline = pick(read_pipelines(launcher.settings.pipelines), "flowers")
    threading.Timer(0.5, gate.touch).start()
    launcher.start(pipeline, force=False)
    assert len(history(store, "flowers", "train")) == 2
    ended(store)


@pytest.mark.parametrize(("changed", "run"), [(False, "run-1"), (True, None)])
def test_an_interrupted_training_goes_on_in_its_run_unless_the_settings_changed(launched, store, changed, run):
    launcher = launched("raise SystemExit(1)")
    ended(store)
    pipeline = pick(read_pipelines(launcher.settings.pipelines), "flowers")
    settings = "others" if changed else settings_fingerprint(pipeline, launcher.settings)
    facts = {**FIRST, "snapshot": "s", "settings": settings, "run_id": "run-1", "force": False}
    begin(store, "flowers", "train", facts).end("interrupted")
    time.sleep(0.005)  # records are told apart by the millisecond
    launcher.start(pipeline, force=False)
    record = ended(store)
    assert (record["resumed_snapshot"], record["run_id"]) == ("s", run)


def test_what_the_job_recorded_itself_stays(launched, store, gate):
    launched(UNTIL_THE_GATE.format(gate=str(gate)))
    record = history(store, "flowers", "train")[0]
    record.end("finished", reason="its own words")
    gate.touch()
    found = ended(store)  # its lease is given back after its end was looked at
    assert (found["state"], found["reason"]) == ("finished", "its own words")


def test_a_job_that_has_said_its_end_can_not_be_cancelled_and_the_next_one_is_not_taken_for_it(launched, store, gate):
    launcher = launched(UNTIL_THE_GATE.format(gate=str(gate)))
    history(store, "flowers", "train")[0].end("finished", reason="it said so, and is about to leave")
    with pytest.raises(NotFound):
        launcher.cancel("flowers")
    gate.touch()
    launcher.line = "import os; os.kill(os.getpid(), 9)"
    launcher.start(pick(read_pipelines(launcher.settings.pipelines), "flowers"), force=False)
    record = ended(store)
    assert (record["state"], "SIGKILL" in record["reason"]) == ("interrupted", True)


def test_a_job_that_ends_while_it_is_cancelled_leaves_no_trace_for_the_next_one(launched, store, tmp_path, gate):
    deaf = "import pathlib, signal; signal.signal(15, signal.SIG_IGN); pathlib.Path({!r}).touch()\n"
    launcher = launched(deaf.format(str(tmp_path / "ready")) + UNTIL_THE_GATE.format(gate=str(gate)))
    wait_until((tmp_path / "ready").exists)
    launcher.cancel("flowers")
    history(store, "flowers", "train")[0].end("finished", reason="it was quicker")
    gate.touch()
    launcher.line = "import os; os.kill(os.getpid(), 9)"
    launcher.start(pick(read_pipelines(launcher.settings.pipelines), "flowers"), force=False)
    assert ended(store)["state"] == "interrupted"


UNTIL_THE_STORE_IS_AWAY = "import os, time\nwhile os.path.isdir({root!r}): time.sleep(0.05)\n"


@pytest.mark.parametrize(
    ("then", "state"),
    [
        ("time.sleep(60)", "cancelled"),
        ("kept = bytearray(200_000_000); time.sleep(60)", "out-of-memory"),
        ("raise RuntimeError", "failed"),
    ],
)
def test_an_end_that_the_store_did_not_take_is_recorded_when_it_is_back(
    launched, store, monkeypatch, caplog, then, state
):
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 2.0)
    line = UNTIL_THE_STORE_IS_AWAY.format(root=str(store.root)) + then
    launcher = launched(line, SABUESO_TRAIN_MEMORY_MB="150", SABUESO_LEASE_S="0.2")
    away = store.root.rename(store.root.with_name("away"))
    if state == "cancelled":
        with pytest.raises(StoreUnavailable):
            launcher.cancel("flowers")
    wait_until(lambda: "can't be used" in caplog.text, 20)
    away.rename(store.root)
    with pytest.raises(AlreadyRunning):
        launcher.start(pick(read_pipelines(launcher.settings.pipelines), "flowers"), force=False)
    assert ended(store)["state"] == state


def test_an_end_is_not_waited_with_for_ever(launched, store, caplog):
    launched(UNTIL_THE_STORE_IS_AWAY.format(root=str(store.root)), SABUESO_PATIENCE_S="0.1")
    away = store.root.rename(store.root.with_name("away"))
    wait_until(lambda: "end not recorded" in caplog.text, 20)
    away.rename(store.root)
    assert history(store, "flowers", "train")[0].body["state"] == "running"


def test_a_take_up_knows_all_executions_that_it_goes_back_to(launched, store):
    launcher = launched("raise SystemExit(1)")
    ended(store)
    begin(store, "flowers", "train", {**FIRST, "snapshot": "s", "force": True, "ancestors": ["the-first"]}).end(
        "interrupted"
    )
    before = history(store, "flowers", "train")[0].body["id"]
    time.sleep(0.005)  # records are told apart by the millisecond
    launcher.start(pick(read_pipelines(launcher.settings.pipelines), "flowers"), force=False)
    record = ended(store)
    assert (record["force"], record["resumed_from"], record["ancestors"]) == (True, before, ["the-first", before])


def test_a_take_up_that_dies_before_it_has_read_its_examples_is_taken_up_in_its_place(launched, store):
    launcher = launched("raise SystemExit(1)")
    ended(store)
    pipeline = pick(read_pipelines(launcher.settings.pipelines), "flowers")
    settings = settings_fingerprint(pipeline, launcher.settings)
    time.sleep(0.005)  # records are told apart by the millisecond
    left = begin(store, "flowers", "train", {**FIRST, "snapshot": "s", "settings": settings, "run_id": "run-1"})
    left.end("interrupted")
    launcher.line = "import os; os.kill(os.getpid(), 9)"
    for number in (2, 3):
        time.sleep(0.005)
        launcher.start(pipeline, force=False)
        record = ended(store)
        assert (record["resumed_snapshot"], record["run_id"]) == ("s", "run-1")
        assert len(record["ancestors"]) == number - 1
    assert record["ancestors"][0] == left.body["id"]


def test_a_forced_training_that_died_before_its_snapshot_is_forced_again(launched, store):
    launcher = launched("raise SystemExit(1)")
    ended(store)
    time.sleep(0.005)  # records are told apart by the millisecond
    begin(store, "flowers", "train", {**FIRST, "force": True}).end("interrupted")
    launcher.start(pick(read_pipelines(launcher.settings.pipelines), "flowers"), force=False)
    record = ended(store)
    assert (record["force"], record["resumed_snapshot"], len(record["ancestors"])) == (True, None, 1)


def test_a_run_that_a_version_was_registered_in_is_not_taken_up(launched, store):
    launcher = launched("raise SystemExit(1)")
    ended(store)
    pipeline = pick(read_pipelines(launcher.settings.pipelines), "flowers")
    settings = settings_fingerprint(pipeline, launcher.settings)
    time.sleep(0.005)  # records are told apart by the millisecond
    facts = {**FIRST, "snapshot": "s", "settings": settings, "run_id": "run-1", "version": "4"}
    begin(store, "flowers", "train", facts).end("interrupted")
    launcher.line = "import os; os.kill(os.getpid(), 9)"
    for _ in range(2):
        launcher.start(pipeline, force=False)
        record = ended(store)
        assert (record["resumed_snapshot"], record["run_id"]) == ("s", None)
        time.sleep(0.005)


def test_what_a_job_writes_as_plain_text_becomes_events_of_the_log(launched, store, caplog):
    caplog.set_level("INFO", "sabueso")
    launched("print('from native code', flush=True)")
    ended(store)
    found = [record.facts for record in caplog.records if record.getMessage() == "output of the job"]
    assert found == [{"pipeline": "flowers", "text": "from native code"}]


def test_the_last_words_of_a_job_need_no_line_of_their_own(launched, store, caplog):
    caplog.set_level("INFO", "sabueso")
    launched("import sys; sys.stdout.write('aborted'); sys.stdout.flush()")
    ended(store)
    assert "aborted" in [record.facts.get("text") for record in caplog.records]


def test_a_failure_is_told_in_words_though_the_log_is_json(launched, store):
    event = '{"event": "the training failed", "error": "ValueError: no such column"}'
    launched(f"import sys; print({event!r}, flush=True); sys.exit(1)")
    assert ended(store)["reason"] == "the job ended with code 1: the training failed ValueError: no such column"
