"""The champion changes while eight clients ask; tests/nightly changes it a hundred times."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swapping import swap

pytestmark = pytest.mark.integration


def test_new_champions_under_load_fail_no_answer_and_mix_none(
    mlflow: Any, serve: Callable[..., Any], bundles: Path, secrets: Path, tmp_path: Path
) -> None:
    swap(8, mlflow, serve, bundles, secrets, tmp_path)
