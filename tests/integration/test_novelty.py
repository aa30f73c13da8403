"""What is unlike all of the training is called unknown, and what is like it is not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shares() -> Any:
    """The share of `unknown` among answers of networks that were fitted for seconds."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'functions'}:{ROOT / 'scripts'}"}
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "strange.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("kind", ["rows", "pictures"])
def test_what_is_like_the_training_is_hardly_ever_unknown(shares: Any, kind: str) -> None:
    assert shares[kind]["known"] <= 0.06


@pytest.mark.parametrize(
    ("what", "least"),
    [("columns of other rows", 0.4), ("anywhere in range", 0.9), ("all zero", 0.9), ("a soil never seen", 0.9)],
)
def test_rows_from_no_forest_are_unknown(shares: Any, what: str, least: float) -> None:
    """A row whose columns come from different rows has nothing but plausible values: together they are impossible."""
    assert shares["rows"][what] >= least


@pytest.mark.parametrize("what", ["noise", "one colour", "a ramp", "stripes"])
def test_pictures_that_are_no_pets_are_unknown(shares: Any, what: str) -> None:
    assert shares["pictures"][what] >= 0.5
