"""What a training still has to do: nothing, if it or an execution that it resumes made its version already."""

import json
import sys
import tempfile
from types import SimpleNamespace

import pytest

from common.pipeline_files import read_pipelines
from common.pipelines import Weights
from common.storage import keys
from common.storage.dataset import Dataset
from common.storage.executions import begin, newest
from common.storage.leases import acquire
from common.storage.training_record import TrainingRecord
from conftest import wait_until
from fake_mlflow import FakeMlflow
from flowers import flower_rows
from stored import sample_meta
from train.context import TrainingContext
from train.fingerprint import settings_fingerprint
from train.job import own_scratch, run, take_snapshot
from train.snapshot import read_examples
from train.supervisor import Supervisor


@pytest.fixture
def steps_done(monkeypatch):
    """The steps that a job carried out. They are fakes: a fit takes long and has its own tests."""
    done = []
    fakes = SimpleNamespace(
        judge_registered=lambda context, examples, version: not done.append(f"judged {version.number}"),
        train_version=lambda *_: done.append("trained"),
    )
    monkeypatch.setitem(sys.modules, "train.training", fakes)
    return done


@pytest.mark.parametrize(
    ("decision", "maker", "force", "steps"),
    [
        (None, "before-the-last", True, ["judged 1"]),
        (None, "last", True, ["judged 1"]),
        (None, "another", True, ["trained"]),
        (None, "another", False, ["judged 1"]),
        ("kept", "last", True, []),
        ("kept", "another", True, ["trained"]),
        ("kept", "another", False, []),
    ],
)
def test_a_resumed_training_makes_no_second_version(
    make_settings, serve, store, tmp_path, steps_done, decision, maker, force, steps
):
    mlflow = FakeMlflow(tmp_path / "mlflow")
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    pipeline = read_pipelines(settings.pipelines)["flowers"]
    dataset = Dataset(store, "flowers")
    body = json.dumps({"data": flower_rows(90)}).encode()
    dataset.add_sample(body, sample_meta(body, 1, examples=["one", "another"]))
    mlflow.versions["flowers", "1"] = {
        "sabueso.snapshot": read_examples(pipeline, dataset, dataset.samples()).fingerprint(),
        "sabueso.settings": settings_fingerprint(pipeline, settings),
        "sabueso.execution": maker,
        **({"sabueso.decision": decision} if decision else {}),
    }
    record = TrainingRecord.new(force=force, ancestors=["before-the-last", "last"])
    execution = begin(store, "flowers", record)
    with acquire(store, keys.lease("flowers", "train"), "train", 60) as lease:
        run(TrainingContext(settings, store, pipeline, execution, lease))
    assert steps_done == steps
    # A version that a resumed execution made keeps its own decision.
    expected = decision if maker == "last" else "skipped"
    assert (execution.record.examples, execution.record.received) == (90, 2)
    assert execution.record.decision == (None if steps else expected)


def test_progress_never_goes_back(make_settings, serve, store, tmp_path):
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(FakeMlflow(tmp_path / "mlflow").app).url)
    pipeline = read_pipelines(settings.pipelines)["flowers"]
    execution = begin(store, "flowers", TrainingRecord.new())
    with acquire(store, keys.lease("flowers", "train"), "train", 60) as lease:
        context, recorded = TrainingContext(settings, store, pipeline, execution, lease), []
        for call, progress in (
            (context.report, 0.5),
            (context.report, 0.1),
            (context.begin_stage, 0.2),
            (context.begin_stage, 0.9),
        ):
            call("a stage", progress)
            recorded.append(execution.record.progress)
    assert recorded == [0.5, 0.5, 0.5, 0.9]


def test_a_weights_file_counts_by_its_sha256_not_its_place(make_settings):
    settings = make_settings("pets")
    pets = read_pipelines(settings.pipelines)["pets"]

    def fingerprint(**train):
        changed = pets.model_copy(update={"train": pets.train.model_copy(update=train)})
        return settings_fingerprint(changed, settings)

    def weights(path, digit):
        return Weights(path=path, sha256=digit * 64)

    here, there = weights("/here/file.h5", "0"), weights("s3://there/file.h5", "0")
    first = fingerprint(backbone="resnet50", weights=here)
    assert fingerprint(backbone="resnet50", weights=there) == first
    others = [fingerprint(), fingerprint(backbone="resnet50"), fingerprint(backbone="mobilenet_v3_small", weights=here)]
    others.append(fingerprint(backbone="resnet50", weights=weights("/here/file.h5", "1")))
    assert len({first, *others}) == 5


def test_another_budget_or_number_of_epochs_makes_another_version(make_settings):
    pets = read_pipelines(make_settings("pets").pipelines)["pets"]

    def fingerprint(**environment):
        return settings_fingerprint(pets, make_settings("pets", **environment))

    environments = [{}, {"SABUESO_BUDGET_S": "9"}, {"SABUESO_EPOCHS": "2"}, {"SABUESO_EPOCHS": "pets=3,covertype=2"}]
    assert len({fingerprint(**environment) for environment in environments}) == len(environments)
    assert fingerprint(SABUESO_EPOCHS="covertype=2") == fingerprint()


def test_a_job_removes_what_a_killed_one_left_in_the_scratch_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    left = tmp_path / "flowers" / "tmp-of-a-killed-job" / "network.tflite"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    with own_scratch(tmp_path / "flowers"):
        assert not left.exists()
        assert tempfile.gettempdir() == str(tmp_path / "flowers")
        left.parent.mkdir()
    assert list(tmp_path.iterdir()) == []


FAILING_FIT = """
import sys, types

def fail(*_):
    raise ValueError("Graph execution error:\\n\\n  File 'fit.py', line 7, in fit\\n(http://ana:p4ss-Zq9@host/d?key=p4ss-Zq9)")

sys.modules["train.training"] = types.SimpleNamespace(train_version=fail, judge_registered=fail)
from train.job import main
sys.exit(main(sys.argv[1:]))
"""


class FailingSupervisor(Supervisor):
    """Its jobs are trainings whose fit fails like TensorFlow's: the message holds a traceback."""

    def command(self, *arguments):
        return [sys.executable, "-c", FAILING_FIT, *arguments]


def test_the_reason_of_an_unexpected_failure_names_what_to_look_up_and_the_log_has_the_traceback(
    make_settings, serve, store, tmp_path
):
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(FakeMlflow(tmp_path / "mlflow").app).url)
    body = json.dumps({"data": flower_rows(90)}).encode()
    Dataset(store, "flowers").add_sample(body, sample_meta(body, 1, examples=["one", "another"]))
    identity = FailingSupervisor(settings, store).start(read_pipelines(settings.pipelines)["flowers"], force=False)
    wait_until(lambda: not newest(store, "flowers", TrainingRecord).record.is_running)
    record = newest(store, "flowers", TrainingRecord).record
    assert record.state == "failed"
    assert record.reason == (
        f"unexpected ValueError in stage 'snapshot taken'; the log of train has the details under {identity}"
    )
    log = (settings.scratch / "logs" / "train-flowers.log").read_text()
    (line,) = [json.loads(line) for line in log.splitlines() if '"the training failed"' in line]
    assert line["execution"] == identity
    assert "Traceback (most recent call last)" in line["error"]
    assert "http://host/d" in line["error"]
    assert "p4ss-Zq9" not in log


def test_the_settings_limit_the_pictures_of_a_snapshot(make_settings, store, monkeypatch):
    limits = []

    def spy(*arguments):
        limits.append(arguments[3])
        return read_examples(*arguments)

    monkeypatch.setattr("train.job.read_examples", spy)
    settings = make_settings("flowers", SABUESO_MAX_MEGAPIXELS="3")
    dataset = Dataset(store, "flowers")
    body = json.dumps({"data": flower_rows(90)}).encode()
    dataset.add_sample(body, sample_meta(body, 1, examples=["one"]))
    execution = begin(store, "flowers", TrainingRecord.new(force=False, ancestors=[]))
    with acquire(store, keys.lease("flowers", "train"), "train", 60) as lease:
        take_snapshot(TrainingContext(settings, store, read_pipelines(settings.pipelines)["flowers"], execution, lease))
    assert limits[0].max_megapixels == 3
