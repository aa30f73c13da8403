"""Pipelines that nobody tuned for, against a random forest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.settings import Settings
from new_tasks import learn_beside_a_forest


@pytest.mark.parametrize(
    ("name", "epochs", "splits"),
    [
        *(("wine", 10, 8), ("breast_cancer", 10, 3), ("digits", 10, 1)),
        *(("animals", 10, 1), ("animals_from_nothing", 40, 1)),
    ],
)
def test_a_task_that_nobody_tuned_for_is_learned_as_well_as_by_a_random_forest(
    make_settings: Callable[..., Settings], tmp_path: Path, name: str, epochs: int, splits: int
) -> None:
    learn_beside_a_forest(make_settings, tmp_path, name, epochs, splits)
