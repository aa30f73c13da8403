"""Jobs of training killed while they fit, register and promote; tests/nightly kills at twenty moments of chance."""

from pathlib import Path

import pytest

from killing import survive
from tapped_mlflow import Moment

pytestmark = [pytest.mark.integration, pytest.mark.full]
MOMENTS = (
    Moment("stage", "epoch", 0.2),
    Moment("after", "POST model-versions/create", turn=1),
    Moment("before", "POST registered-models/alias", turn=1),
)


@pytest.mark.timeout(1800)
def test_jobs_killed_while_they_fit_register_and_promote_end_well(tmp_path: Path) -> None:
    survive(tmp_path, MOMENTS)
