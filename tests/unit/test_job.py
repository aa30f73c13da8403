"""Which version a training still has to make: none, if it or the training that it takes up made one already."""

import json
import sys
import tempfile
from dataclasses import replace
from types import SimpleNamespace

import pytest

from common.datasets import Dataset
from common.executions import begin
from common.leases import acquire
from common.pipelines import Weights, read_pipelines
from fake_mlflow import FakeMlflow
from flowers import flower_rows
from train.job import Job, own_scratch, settings_fingerprint
from train.launch import FIRST
from train.snapshot import read_examples


@pytest.fixture
def made(monkeypatch):
    """What a job did beyond looking; the fit itself is dear and has tests of its own."""
    found = []
    steps = SimpleNamespace(
        judge_left=lambda job, examples, version: not found.append(f"judged {version['version']}"),
        make_version=lambda *_: found.append("fitted"),
    )
    monkeypatch.setitem(sys.modules, "train.make_version", steps)
    return found


@pytest.mark.parametrize(
    ("decision", "maker", "force", "does"),
    [
        (None, "before-the-last", True, ["judged 1"]),
        (None, "last", True, ["judged 1"]),
        (None, "another", True, ["fitted"]),
        (None, "another", False, ["judged 1"]),
        ("kept", "last", True, []),
        ("kept", "another", True, ["fitted"]),
        ("kept", "another", False, []),
    ],
)
def test_a_training_that_is_taken_up_makes_no_second_version(
    make_settings, serve, store, tmp_path, made, decision, maker, force, does
):
    mlflow = FakeMlflow(tmp_path / "mlflow")
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    pipeline = read_pipelines(settings.pipelines)["flowers"]
    dataset = Dataset(store, "flowers")
    meta = {"format": "json", "time": "a", "made_up": True, "intent": None, "examples": ["one", "another"]}
    dataset.add_sample(1, json.dumps({"data": flower_rows(90)}).encode(), meta)
    mlflow.versions["flowers", "1"] = {
        "sabueso.snapshot": read_examples(pipeline, dataset, dataset.samples()).fingerprint(),
        "sabueso.settings": settings_fingerprint(pipeline, settings),
        "sabueso.execution": maker,
        **({"sabueso.decision": decision} if decision else {}),
    }
    record = begin(store, "flowers", "train", {**FIRST, "ancestors": ["before-the-last", "last"]})
    with acquire(store, "jobs/flowers/train.json", "train", 60) as lease:
        Job(settings, store, pipeline, record, lease).run(force)
    assert made == does
    # Of a version that an execution of before made and judged, the take-up tells what became of it.
    own = decision if maker == "last" else "skipped"
    assert (record.body["examples"], record.body["received"]) == (90, 2)
    assert record.body["decision"] == (None if does else own)


def test_progress_never_goes_back(make_settings, serve, store, tmp_path):
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(FakeMlflow(tmp_path / "mlflow").app).url)
    pipeline = read_pipelines(settings.pipelines)["flowers"]
    record = begin(store, "flowers", "train", FIRST)
    with acquire(store, "jobs/flowers/train.json", "train", 60) as lease:
        job, seen = Job(settings, store, pipeline, record, lease), []
        for tell, progress in ((job.tell, 0.5), (job.tell, 0.1), (job.stage, 0.2), (job.stage, 0.9)):
            tell("a stage", progress)
            seen.append(record.body["progress"])
    assert seen == [0.5, 0.5, 0.5, 0.9]


def test_weights_count_by_their_sum_wherever_they_come_from(make_settings):
    settings = make_settings("pets")
    pets = read_pipelines(settings.pipelines)["pets"]

    def fingerprint(**train):
        return settings_fingerprint(replace(pets, train=replace(pets.train, **train)), settings)

    here, there = Weights("/here/file.h5", "0" * 64), Weights("s3://there/file.h5", "0" * 64)
    first = fingerprint(backbone="resnet50", weights=here)
    assert fingerprint(backbone="resnet50", weights=there) == first
    others = [fingerprint(), fingerprint(backbone="resnet50"), fingerprint(backbone="mobilenet_v3_small", weights=here)]
    others.append(fingerprint(backbone="resnet50", weights=Weights("/here/file.h5", "1" * 64)))
    assert len({first, *others}) == 5


def test_another_budget_or_another_number_of_epochs_makes_another_version(make_settings):
    pets = read_pipelines(make_settings("pets").pipelines)["pets"]

    def fingerprint(**environment):
        return settings_fingerprint(pets, make_settings("pets", **environment))

    given = [{}, {"SABUESO_BUDGET_S": "9"}, {"SABUESO_EPOCHS": "2"}, {"SABUESO_EPOCHS": "pets=3,covertype=2"}]
    assert len({fingerprint(**environment) for environment in given}) == len(given)
    assert fingerprint(SABUESO_EPOCHS="covertype=2") == fingerprint()


def test_what_a_killed_job_left_in_the_scratch_folder_is_taken_away_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    left = tmp_path / "flowers" / "tmp-of-a-killed-job" / "network.tflite"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    with own_scratch(tmp_path / "flowers"):
        assert not left.exists()
        assert tempfile.gettempdir() == str(tmp_path / "flowers")
        left.parent.mkdir()
    assert list(tmp_path.iterdir()) == []
