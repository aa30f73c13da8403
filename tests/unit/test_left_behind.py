"""What trainings that did not come to their end leave, and who takes it away."""

from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import TrainingFailed
from common.pictures import square_view
from flowers import draw, encode
from train.fit import decoded
from train.fit.checkpoint import PLAN, STATE, Checkpoint
from train.fit.decoded import clear_others, decode_all, decoded_mb
from train.left_behind import clear_left

SIZE = 32
VIEW = square_view(SIZE)


def files_of(start, count=8):
    return [encode(draw("cat", start + number)) for number in range(count)]


def test_decoded_pictures_of_other_trainings_leave_and_those_of_this_one_are_found_again(tmp_path):
    decode_all(files_of(0), VIEW, tmp_path / "earlier")
    (tmp_path / "loose.npy").write_bytes(b"of an earlier layout")
    decode_all(files_of(100), VIEW, tmp_path / "this")
    [whole] = (tmp_path / "this").iterdir()
    whole.with_name("half.part").write_bytes(b"half")
    clear_others(tmp_path / "this")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [whole]
    clear_others(tmp_path / "the-first-of-all" / "this")  # nothing is there yet


def test_pictures_that_an_earlier_training_left_do_not_keep_the_next_from_its_room(tmp_path, monkeypatch):
    room = 1.5 * decoded_mb(8, SIZE) * 1e6

    def disk_usage(_):
        return SimpleNamespace(free=room - sum(path.stat().st_size for path in tmp_path.rglob("*.npy")))

    monkeypatch.setattr(decoded.shutil, "disk_usage", disk_usage)
    decode_all(files_of(0), VIEW, tmp_path / "earlier")
    with pytest.raises(TrainingFailed, match="Give the scratch folder more room"):
        decode_all(files_of(100), VIEW, tmp_path / "this")
    clear_others(tmp_path / "this")
    assert len(decode_all(files_of(100), VIEW, tmp_path / "this")) == 8


def test_states_of_fits_that_were_overtaken_leave_and_plans_stay(store):
    names = (
        "flowers/checkpoints/first",
        "flowers/checkpoints/this",
        "flowers/checkpoints/this-too",
        "pets/checkpoints/a",
    )
    fits = [Checkpoint(store, f"jobs/{name}/") for name in names]
    for fit in fits:
        fit.save_plan({"epochs": 3})
        fit.save({"weights": np.zeros(3)})
    fits[1].clear_others()
    assert [fit.load() is not None for fit in fits] == [False, True, False, True]
    assert all(fit.plan() == {"epochs": 3} for fit in fits)
    left = {key.removeprefix("jobs/") for key in store.list("jobs/")}
    assert left == {f"{name}/{PLAN}" for name in names} | {f"{names[at]}/{STATE}" for at in (1, 3)}


def test_a_making_begins_where_all_of_its_pipeline_but_its_own_is_taken_away(make_settings, store):
    settings = make_settings("pets")
    pets = SimpleNamespace(name="pets")
    job = SimpleNamespace(pipeline=pets, settings=settings, objects=store, pictures=settings.scratch / "pictures/pets")
    job.patience = lambda call: call()
    others = settings.scratch / "pictures" / "flowers"
    others.mkdir(parents=True)
    half = settings.scratch / "weights" / f".{'0' * 64}.4194399"  # no machine has a process of that number
    half.parent.mkdir()
    half.write_bytes(b"half")
    makings = []
    for snapshot in ("a" * 64, "b" * 64, "b" * 64):
        pictures, checkpoint = clear_left(job, snapshot, "c" * 64)
        makings.append((pictures, checkpoint.load() is not None, pictures.exists()))
        pictures.mkdir(parents=True, exist_ok=True)
        checkpoint.save({"weights": np.zeros(3)})
    assert [found for _, *found in makings] == [[False, False], [False, False], [True, True]]
    assert list(job.pictures.iterdir()) == [makings[-1][0]]
    assert len(list(store.list("jobs/pets/checkpoints/"))) == 1
    assert (others.exists(), half.exists()) == (True, False)
