"""Exported forms compute what the fitted networks compute; heatmaps add up; batches of pictures are reproducible."""

from typing import Any

import pytest

from conftest import printed_json

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return dict(printed_json("network_parts.py"))


def test_an_epoch_of_pictures_is_reproducible_and_differs_from_other_epochs(results: dict[str, Any]) -> None:
    batches = results["batches"]
    assert batches["steps"] == [2, 2, 2]
    assert batches["is_reproducible"]
    assert batches["change_between_epochs"] > 1


def test_the_targets_of_a_mixture_are_the_shares_of_both_labels(results: dict[str, Any]) -> None:
    assert results["batches"]["target_sum_error"] < 1e-5
    assert results["batches"]["mixed_share"] > 0.3


def test_pictures_grow_during_the_fit_but_are_never_too_small(results: dict[str, Any]) -> None:
    assert results["batches"]["shapes"] == ["(32, 32, 32, 3)", "(32, 48, 48, 3)"]
    assert results["batches"]["first_sizes"] == [24, 32, 48, 80]


def test_augmentation_is_compiled_once_per_size_and_not_per_epoch(results: dict[str, Any]) -> None:
    assert results["batches"]["traces"] == 2


def test_the_folded_network_for_rows_computes_what_the_fitted_one_does(results: dict[str, Any]) -> None:
    assert len(results["folded"]) == 4
    assert max(results["folded"].values()) < 1e-5, results["folded"]


@pytest.mark.parametrize(("start", "members"), [("from scratch", 2), ("pretrained", 1)])
def test_the_heat_of_all_regions_adds_up_to_the_logits(results: dict[str, Any], start: str, members: int) -> None:
    heat = results["heat"][start]
    assert heat["logits"] == [5, members, 3]
    assert heat["shape"] == [5, 4, 4, 3]
    assert heat["sum_difference"] < 1e-4
    assert heat["export_difference"] < 1e-4


def test_a_network_from_scratch_answers_a_picture_and_its_mirror_image_alike(results: dict[str, Any]) -> None:
    assert results["heat"]["from scratch"]["mirror_difference"] < 1e-4
    assert results["heat"]["pretrained"]["mirror_difference"] > 1e-3, "it does not answer the mirror image"


def test_embeddings_of_a_pretrained_network_have_length_one(results: dict[str, Any]) -> None:
    assert abs(results["heat"]["pretrained"]["length"] - 1) < 1e-4
