"""What a fit computes in its own, quicker way is what Keras computes."""

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
def found() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "network_parts.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "functions")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def test_steps_of_muon_are_those_of_keras_for_matrices_of_any_form(found: dict[str, Any]) -> None:
    assert len(found["orthogonal"]) == 5
    assert max(found["orthogonal"].values()) < 1e-3, found["orthogonal"]


def test_kernels_of_convolutions_go_by_muon_where_networks_begin_from_nothing(found: dict[str, Any]) -> None:
    muon, adamw = found["convolution"]
    assert muon > 0.3
    assert adamw < 0.2


def test_norm_as_one_operation_gives_what_batch_normalization_gives(found: dict[str, Any]) -> None:
    assert max(found["norm"].values()) < 1e-4, found["norm"]
