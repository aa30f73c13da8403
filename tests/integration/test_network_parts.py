"""What answers is what was fitted; the heat of pictures; batches of pictures."""

from typing import Any

import pytest

from conftest import told_by

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return dict(told_by("network_parts.py"))


def test_an_epoch_of_pictures_comes_again_as_it_was(found: dict[str, Any]) -> None:
    batches = found["batches"]
    assert batches["steps"] == [2, 2, 2]
    assert batches["same"]
    assert batches["another"] > 1


def test_a_mixture_of_two_pictures_has_the_labels_of_both_in_its_shares(found: dict[str, Any]) -> None:
    assert found["batches"]["targets"] < 1e-5
    assert found["batches"]["mixed"] > 0.3


def test_pictures_grow_during_the_fit_and_are_never_smaller_than_what_can_be_seen(found: dict[str, Any]) -> None:
    assert found["batches"]["shapes"] == ["(32, 32, 32, 3)", "(32, 48, 48, 3)"]
    assert found["batches"]["small"] == [24, 32, 48, 80]


def test_augmentation_is_set_up_once_for_a_size_and_not_for_each_epoch(found: dict[str, Any]) -> None:
    assert found["batches"]["traced"] == 2


def test_what_answers_rows_computes_what_the_fitted_network_does(found: dict[str, dict[str, float]]) -> None:
    assert len(found["plain"]) == 4
    assert max(found["plain"].values()) < 1e-5, found["plain"]


@pytest.mark.parametrize(("begins", "looks"), [("from nothing", 2), ("pretrained", 1)])
def test_the_parts_of_a_picture_add_up_to_its_answer(found: dict[str, dict[str, Any]], begins: str, looks: int) -> None:
    heat = found["heat"][begins]
    assert heat["logits"] == [5, looks, 3]
    assert heat["shape"] == [5, 4, 4, 3]
    assert heat["sum"] < 1e-4
    assert heat["exported"] < 1e-4


def test_a_picture_and_its_mirror_image_are_one_to_a_network_from_nothing(found: dict[str, dict[str, Any]]) -> None:
    assert found["heat"]["from nothing"]["mirrored"] < 1e-4
    assert found["heat"]["pretrained"]["mirrored"] > 1e-3, "it looks once"


def test_embeddings_of_a_pretrained_network_have_length_one(found: dict[str, dict[str, Any]]) -> None:
    assert abs(found["heat"]["pretrained"]["length"] - 1) < 1e-4
