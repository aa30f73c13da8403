"""Training jobs killed while they fit, register and promote; tests/nightly kills at twenty random moments."""

from pathlib import Path

import pytest

from killed_trainings import check_killed_trainings
from mlflow_proxy import Moment

pytestmark = [pytest.mark.integration, pytest.mark.full]
MOMENTS = (
    Moment("stage", "epoch", 0.2),
    Moment("after", "POST model-versions/create", turn=1),
    Moment("before", "POST registered-models/alias", turn=1),
)


@pytest.mark.timeout(1800)
def test_trainings_killed_while_they_fit_register_or_promote_are_resumed(tmp_path: Path) -> None:
    check_killed_trainings(tmp_path, MOMENTS)
