"""A fit goes on from its checkpoint, by the plan that it had."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration


def test_a_fit_that_died_goes_on_after_its_last_stored_epoch_by_the_same_plan(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "functions")}
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "fit_resume.py", tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
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
