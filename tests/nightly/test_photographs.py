"""What `pets` learns of the shared photographs, where they are. No speed is asserted."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality_data import shared_tasks
from conftest import told_by

pytestmark = pytest.mark.skipif(
    not Path(shared_tasks()["pets"].train).is_dir(), reason="the shared photographs are not there"
)


@pytest.fixture(scope="module")
def told() -> Any:
    return told_by("photographs.py", seconds=3600)


def test_nearly_all_photographs_are_told_right_and_with_honest_confidence(told: Any) -> None:
    assert told["scores"]["accuracy"] >= 0.975
    assert told["scores"]["ece"] <= told["scores"]["ece_ideal"] + 0.015
    assert told["export_apart"] <= 1e-4


def test_twenty_photographs_of_each_label_are_enough_to_begin(told: Any) -> None:
    assert min(told["few"]) >= 0.93


def test_the_training_fits_in_little_memory(told: Any) -> None:
    assert told["peak_mb"] <= 1500


def test_photographs_of_pets_are_known(told: Any) -> None:
    assert told["known"] <= 0.02


@pytest.mark.parametrize("what", ["drawings", "noise", "documents", "shapes", "landscapes"])
def test_pictures_of_something_else_are_unknown(told: Any, what: str) -> None:
    assert told["unknown"][what] >= 0.8
