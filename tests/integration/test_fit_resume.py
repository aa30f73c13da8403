"""A fit goes on from its checkpoint, by the plan that it had."""

from pathlib import Path

import pytest

from conftest import told_by

pytestmark = pytest.mark.integration


def test_a_fit_that_died_goes_on_after_its_last_stored_epoch_by_the_same_plan(tmp_path: Path) -> None:
    found = told_by("fit_resume.py", tmp_path)
    assert found["first"] == [1, 2, 3, 4]
    assert found["second"] == [4, 5, 6, 7, 8]
    assert found["plans"][0] == found["plans"][1]
    assert found["accuracy"] > 0.8
    assert found["ended"] == []
    # What MLflow is told of a fit is the whole of it.
    assert found["curves"] == [list(range(1, 9)), list(range(1, 9))]
    # A state of another network is none to go on from.
    assert found["other"] == list(range(1, 9))
    assert found["plan"] == found["plans"][0]
    # The state goes, the plan stays: a fit that begins anew repeats it.
    assert found["left"] == ["jobs/flowers/checkpoints/one/plan.json"]
    assert found["forced"] == list(range(1, 6))
