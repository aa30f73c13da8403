"""What a fit computes in its own, quicker way is what Keras computes; its batches of pictures."""

from typing import Any

import pytest

from conftest import told_by

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return dict(told_by("network_parts.py"))


def test_steps_of_muon_are_those_of_keras_for_matrices_of_any_form(found: dict[str, Any]) -> None:
    assert len(found["orthogonal"]) == 5
    assert max(found["orthogonal"].values()) < 1e-3, found["orthogonal"]


def test_kernels_of_convolutions_go_by_muon_where_networks_begin_from_nothing(found: dict[str, Any]) -> None:
    muon, adamw = found["convolution"]
    assert muon > 0.3
    assert adamw < 0.2


def test_norm_as_one_operation_gives_what_batch_normalization_gives(found: dict[str, Any]) -> None:
    assert max(found["norm"].values()) < 1e-4, found["norm"]


def test_an_epoch_of_pictures_comes_again_as_it_was(found: dict[str, Any]) -> None:
    batches = found["batches"]
    assert batches["steps"] == [2, 2, 2]
    assert batches["same"]
    assert batches["another"] > 1


def test_a_mixture_of_two_pictures_has_the_labels_of_both_in_its_shares(found: dict[str, Any]) -> None:
    assert found["batches"]["targets"] < 1e-5
    assert found["batches"]["mixed"] > 0.3


def test_pictures_grow_during_the_fit_and_are_never_smaller_than_what_can_be_seen(found: dict[str, Any]) -> None:
    assert found["batches"]["shapes"] == ["(32, 33, 33, 3)", "(32, 48, 48, 3)"]
    assert found["batches"]["small"] == [24, 33, 49, 81]


def test_augmentation_is_set_up_once_for_a_size_and_not_for_each_epoch(found: dict[str, Any]) -> None:
    assert found["batches"]["traced"] == 2


def test_a_picture_and_its_mirror_image_get_one_answer(found: dict[str, dict[str, float]]) -> None:
    assert max(found["mirrored"]["49"], found["mirrored"]["81"]) < 1e-4
    assert found["mirrored"]["80"] > 1e-3, "or the network does not look"


def test_what_answers_rows_computes_what_the_fitted_network_does(found: dict[str, dict[str, float]]) -> None:
    assert len(found["plain"]) == 4
    assert max(found["plain"].values()) < 1e-5, found["plain"]


@pytest.mark.parametrize("side", ["49", "64", "73", "80"])
def test_what_answers_pictures_computes_what_the_fitted_network_does_at_little_more_than_half_the_cost(
    found: dict[str, dict[str, dict[str, float]]], side: str
) -> None:
    assert found["plain_pictures"][side]["apart"] < 1e-5
    assert found["plain_pictures"][side]["multiplications"] < 0.6


def test_colour_and_texture_are_means_spreads_and_changes(found: dict[str, float]) -> None:
    assert found["look"] < 1e-5


@pytest.mark.parametrize(("looks", "members", "side"), [("once", 1, 5), ("twice", 2, 4)])
def test_the_parts_of_a_picture_add_up_to_its_answer_and_turn_with_it(
    found: dict[str, dict[str, Any]], looks: str, members: int, side: int
) -> None:
    heat = found["heat"][looks]
    assert heat["logits"] == [5, members, 3]
    assert heat["shape"] == [5, side, side, 3]
    assert heat["sum"] < 1e-4
    assert heat["mirrored"] < 1e-4
    assert heat["exported"] < 1e-4
