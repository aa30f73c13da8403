"""The drawn cats and dogs are complete, reproducible, and marked as drawings."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from local.drawings import draw_pets

SIZE = 64


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.jpg")
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets")
    draw_pets(folder, 40, seed=1, size=SIZE)
    return folder


def test_half_are_cats_and_half_are_dogs_and_nothing_else_is_left(drawn):
    assert sorted(path.name for path in drawn.iterdir()) == ["MADE-UP.txt", "cat", "dog"]
    for kind in ("cat", "dog"):
        assert sorted(path.name for path in (drawn / kind).iterdir()) == [f"{n:04}.jpg" for n in range(20)]


def test_an_odd_count_is_kept(tmp_path):
    draw_pets(tmp_path, 3, seed=1, size=SIZE)
    assert sorted(hashes(tmp_path)) == ["cat/0000.jpg", "cat/0001.jpg", "dog/0000.jpg"]


def test_every_picture_is_a_complete_jpeg_of_the_size_and_no_two_are_equal(drawn):
    for path in drawn.rglob("*.jpg"):
        with Image.open(path) as picture:
            picture.load()
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (SIZE, SIZE))
            assert np.asarray(picture).std() > 5
    assert len(set(hashes(drawn).values())) == 40


def test_a_note_in_two_languages_marks_them_as_drawings(drawn):
    note = (drawn / "MADE-UP.txt").read_text("utf-8")
    assert "drawn by a program" in note
    assert "las dibuja un programa" in note


def test_the_same_seed_draws_the_same_and_another_seed_others(drawn, tmp_path):
    draw_pets(tmp_path / "same", 40, seed=1, size=SIZE)
    draw_pets(tmp_path / "other", 40, seed=2, size=SIZE)
    assert hashes(tmp_path / "same") == hashes(drawn)
    assert not set(hashes(tmp_path / "other").values()) & set(hashes(drawn).values())


def test_a_complete_folder_is_left_alone(tmp_path):
    draw_pets(tmp_path, 6, seed=1, size=SIZE)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    draw_pets(tmp_path, 6, seed=1, size=SIZE)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}


def test_a_missing_picture_is_drawn_again(tmp_path):
    draw_pets(tmp_path, 6, seed=1, size=SIZE)
    before = hashes(tmp_path)
    (tmp_path / "dog/0001.jpg").unlink()
    draw_pets(tmp_path, 6, seed=1, size=SIZE)
    assert hashes(tmp_path) == before


def test_another_count_keeps_the_common_pictures(tmp_path):
    draw_pets(tmp_path, 10, seed=1, size=SIZE)
    before = hashes(tmp_path)
    draw_pets(tmp_path, 4, seed=1, size=SIZE)
    assert hashes(tmp_path).items() < before.items()
    assert len(hashes(tmp_path)) == 4


def test_pictures_from_elsewhere_are_not_touched(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/0000.jpg").write_bytes(b"my own cat")
    with pytest.raises(FileExistsError, match="did not draw"):
        draw_pets(tmp_path, 4, seed=1, size=SIZE)
    assert (tmp_path / "cat/0000.jpg").read_bytes() == b"my own cat"
