"""Leftovers of unfinished trainings are removed by the next training of the same pipeline."""

from types import SimpleNamespace

import numpy as np
import pytest

from common.inference.pictures import square_view
from common.pipeline_files import read_pipelines
from flowers import draw, encode
from train.errors import TrainingFailed
from train.fit import decoded_pictures
from train.fit.checkpoint import PLAN, STATE, Checkpoint, FitPlan
from train.fit.decoded_pictures import decode_all, decoded_mb, remove_others
from train.fit.workspace import prepare_workspace
from train.retry import RetryPolicy
from train.training_key import TrainingKey

SIZE = 32
VIEW = square_view(SIZE)
FIT_PLAN = FitPlan(epochs=3, steps=2, size=16, optimizer="muon", learning_rate=0.1, weight_decay=0.0, smoothing=0.0)


def picture_files(first, count=8):
    return [encode(draw("cat", first + number)) for number in range(count)]


def test_only_the_decoded_pictures_of_this_training_are_kept(tmp_path):
    decode_all(picture_files(0), VIEW, tmp_path / "earlier")
    (tmp_path / "loose.npy").write_bytes(b"from an earlier layout")
    decode_all(picture_files(100), VIEW, tmp_path / "this")
    [complete] = (tmp_path / "this").iterdir()
    complete.with_name("half.part").write_bytes(b"half")
    remove_others(tmp_path / "this")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [complete]


def test_the_first_training_has_nothing_to_remove(tmp_path):
    remove_others(tmp_path / "pets" / "this")


def test_leftover_pictures_do_not_take_the_disk_space_of_the_next_training(tmp_path, monkeypatch):
    space = 1.5 * decoded_mb(8, SIZE) * 1e6

    def disk_usage(_):
        return SimpleNamespace(free=space - sum(path.stat().st_size for path in tmp_path.rglob("*.npy")))

    monkeypatch.setattr(decoded_pictures.shutil, "disk_usage", disk_usage)
    decode_all(picture_files(0), VIEW, tmp_path / "earlier")
    with pytest.raises(TrainingFailed, match="Give the scratch folder more space"):
        decode_all(picture_files(100), VIEW, tmp_path / "this")
    remove_others(tmp_path / "this")
    assert len(decode_all(picture_files(100), VIEW, tmp_path / "this")) == 8


def test_obsolete_states_of_the_pipeline_are_removed_and_plans_are_kept(store):
    fits = [("flowers", "first"), ("flowers", "this"), ("flowers", "this-too"), ("pets", "a")]
    checkpoints = [Checkpoint(store, pipeline, training) for pipeline, training in fits]
    for checkpoint in checkpoints:
        checkpoint.save_plan(FIT_PLAN)
        checkpoint.save({"weights": np.zeros(3)})
    checkpoints[1].clear_other_states()
    assert [checkpoint.load() is not None for checkpoint in checkpoints] == [False, True, False, True]
    assert all(checkpoint.plan() == FIT_PLAN for checkpoint in checkpoints)
    folders = [f"jobs/{pipeline}/checkpoints/{training}" for pipeline, training in fits]
    expected = {f"{folder}/{PLAN}" for folder in folders} | {f"{folders[index]}/{STATE}" for index in (1, 3)}
    assert set(store.list("jobs/")) == expected


def test_a_training_removes_everything_of_its_pipeline_but_its_own(make_settings, store):
    settings = make_settings("pets")
    context = SimpleNamespace(
        pipeline=read_pipelines(settings.pipelines)["pets"],
        settings=settings,
        store=store,
        pictures=settings.scratch / "pictures" / "pets",
        retry=RetryPolicy(0, lambda reason: None),
    )
    other_pipeline = settings.scratch / "pictures" / "flowers"
    other_pipeline.mkdir(parents=True)
    partial = settings.scratch / "weights" / f".{'0' * 64}.4194399"  # no machine has a process with this id
    partial.parent.mkdir()
    partial.write_bytes(b"half")
    folders, resumed = [], []
    for snapshot in ("a" * 64, "b" * 64, "b" * 64):
        pictures, checkpoint = prepare_workspace(context, TrainingKey(snapshot, "c" * 64))
        folders.append(pictures)
        resumed.append((checkpoint.load() is not None, pictures.exists()))
        pictures.mkdir(parents=True, exist_ok=True)
        checkpoint.save({"weights": np.zeros(3)})
    assert resumed == [(False, False), (False, False), (True, True)]
    assert list(context.pictures.iterdir()) == [folders[-1]]
    assert len(list(store.list("jobs/pets/checkpoints/"))) == 1
    assert (other_pipeline.exists(), partial.exists()) == (True, False)
