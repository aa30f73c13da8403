"""A pipeline that nobody tuned for, against a random forest; tests/nightly has others, pictures among them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.settings import Settings
from new_tasks import learn_beside_a_forest

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_a_task_that_nobody_tuned_for_is_learned_as_well_as_by_a_random_forest(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    learn_beside_a_forest(make_settings, tmp_path, "wine", epochs=10, splits=2)
