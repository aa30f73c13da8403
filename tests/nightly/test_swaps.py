"""The champion changes a hundred times while eight clients ask."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from swapping import swap


def test_a_hundred_new_champions_under_load_fail_no_answer_and_mix_none(
    mlflow: Any, serve: Callable[..., Any], bundles: Path, secrets: Path, tmp_path: Path
) -> None:
    swap(100, mlflow, serve, bundles, secrets, tmp_path)
