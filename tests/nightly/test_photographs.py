"""The quality of `pets` on the shared photographs, if they are available. Speed is not tested."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality_data import shared_tasks
from conftest import printed_json

pytestmark = pytest.mark.skipif(
    not Path(shared_tasks()["pets"].train).is_dir(), reason="the shared photographs are not available"
)


@pytest.fixture(scope="module")
def results() -> Any:
    return printed_json("photographs.py", seconds=3600)


def test_nearly_all_photographs_are_classified_correctly_with_calibrated_confidence(results: Any) -> None:
    assert results["scores"]["accuracy"] >= 0.975
    assert results["scores"]["ece"] <= results["scores"]["ece_ideal"] + 0.015
    assert results["export_difference"] <= 1e-4


def test_twenty_photographs_per_label_are_enough_to_start(results: Any) -> None:
    assert min(results["few"]) >= 0.93


def test_training_stays_below_1500_mb_of_memory(results: Any) -> None:
    assert results["peak_mb"] <= 1500


def test_photographs_of_pets_are_rarely_unknown(results: Any) -> None:
    assert results["known"] <= 0.02


@pytest.mark.parametrize("pictures", ["drawings", "noise", "documents", "shapes", "landscapes"])
def test_pictures_without_pets_are_unknown(results: Any, pictures: str) -> None:
    assert results["unknown"][pictures] >= 0.8
