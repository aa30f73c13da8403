"""A new pipeline compared with a random forest; tests/nightly has more, also with pictures."""

from collections.abc import Callable
from pathlib import Path

import pytest

from all_settings import AllSettings as Settings
from new_tasks import compare_with_forest

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_a_new_task_is_learned_as_well_as_by_a_random_forest(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    compare_with_forest(make_settings, tmp_path, "wine", epochs=10, splits=2)
