"""Pictures with a backbone: weights from a file, the head first, then everything; what answers is what was fitted."""

from typing import Any

import pytest

from backbones import check_network
from common.pipeline_keys import BACKBONES
from conftest import told_by


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return told_by("transfer.py", "fit", tmp_path_factory.mktemp("fits"), seconds=3600)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return told_by("transfer.py", "networks", tmp_path_factory.mktemp("networks"), *BACKBONES, seconds=3600)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_answers_as_keras_means_it_and_its_export_does_too(name: str, networks: Any) -> None:
    check_network(networks[name])


def test_the_head_learns_first_and_then_everything_more_slowly(fits: Any) -> None:
    first, second = fits["first"], fits["second"]
    resting = first["plan"]["head_epochs"]
    assert 0 < resting < first["plan"]["epochs"]
    assert first["moved"][:resting] == [0.0] * resting
    assert all(apart > 0 for apart in first["moved"][resting:])
    assert second["head_moved"] > 0
    assert 0 < max(first["rates"][resting:]) < 0.2 * max(first["rates"][:resting])


def test_a_backbone_that_knows_something_keeps_the_measures_of_its_norms(fits: Any) -> None:
    # The mean over the steps of what stays as it is, is that but for rounding.
    assert fits["second"]["norms_moved"] < 1e-5
    assert fits["before"]["norms_moved"] > 0.1


def test_a_fit_that_died_in_the_second_phase_goes_on_in_it(fits: Any) -> None:
    first, second = fits["first"], fits["second"]
    assert first["seen"] == [1, 2, 3, 4, 5]
    assert second["seen"] == [5, 6]
    assert second["plan"] == first["plan"]
    # The optimizer began anew where everything began to learn, and nowhere else.
    assert second["steps"] == (second["plan"]["epochs"] - second["plan"]["head_epochs"]) * second["batches"]
    assert second["moved"][0] >= first["moved"][3]


def test_a_backbone_without_weights_learns_from_the_start(fits: Any) -> None:
    assert all(apart > 0 for apart in fits["before"]["moved"])


def test_what_was_learnt_on_other_pictures_helps(fits: Any) -> None:
    before, after = fits["before"], fits["second"]
    assert before["accuracies"][-1] > 0.6
    # As many steps from nothing, though with more pictures, lead nowhere yet.
    steps = after["plan"]["epochs"] * after["batches"]
    assert after["accuracy"] > before["accuracies"][steps // before["batches"]] + 0.08
