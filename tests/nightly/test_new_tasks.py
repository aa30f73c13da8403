"""New pipelines compared with a random forest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from all_settings import AllSettings as Settings
from new_tasks import compare_with_forest


@pytest.mark.parametrize(
    ("name", "epochs", "splits"),
    [
        *(("wine", 10, 8), ("breast_cancer", 10, 3), ("digits", 10, 1)),
        *(("animals", 10, 1), ("animals_from_scratch", 40, 1)),
    ],
)
def test_a_new_task_is_learned_as_well_as_by_a_random_forest(
    make_settings: Callable[..., Settings], tmp_path: Path, name: str, epochs: int, splits: int
) -> None:
    compare_with_forest(make_settings, tmp_path, name, epochs, splits)
