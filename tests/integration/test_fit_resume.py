"""An interrupted fit resumes from its checkpoint and keeps its plan."""

from pathlib import Path
from typing import Any

import pytest

from conftest import printed_json

pytestmark = pytest.mark.integration
ALL_EPOCHS = list(range(1, 9))


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("fits")
    return printed_json("fit_resume.py", folder)


def test_a_crashed_fit_resumes_after_its_last_saved_epoch_with_the_same_plan(fits: Any) -> None:
    assert fits["crashed"]["epochs"] == [1, 2, 3, 4]
    assert fits["resumed"]["epochs"] == [4, 5, 6, 7, 8]
    assert fits["crashed"]["plan"] == fits["resumed"]["plan"]
    assert fits["resumed"]["accuracy"] > 0.8


def test_a_completed_fit_runs_no_further_epoch(fits: Any) -> None:
    assert fits["after_the_end"]["epochs"] == []


def test_the_learning_curve_covers_the_epochs_of_all_processes(fits: Any) -> None:
    assert fits["resumed"]["curve"] == ALL_EPOCHS
    assert fits["after_the_end"]["curve"] == ALL_EPOCHS


def test_the_state_of_another_network_is_not_resumed(fits: Any) -> None:
    assert fits["other_network"]["epochs"] == ALL_EPOCHS
    assert fits["other_network"]["plan"] == fits["crashed"]["plan"]


def test_clearing_deletes_the_state_but_keeps_the_plan_for_the_next_fit(fits: Any) -> None:
    assert fits["remaining_keys"] == ["jobs/flowers/checkpoints/one/plan.json"]
    assert fits["forced"]["epochs"] == [1, 2, 3, 4, 5]
