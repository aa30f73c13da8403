"""The champion changes under load; tests/nightly changes it a hundred times."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swapping import swap

pytestmark = pytest.mark.integration


def test_no_answer_fails_or_mixes_versions_while_champions_change(
    mlflow: Any, serve: Callable[..., Any], bundles: Path, secrets: Path, tmp_path: Path
) -> None:
    swap(8, mlflow, serve, bundles, secrets, tmp_path)
