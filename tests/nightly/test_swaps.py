"""The champion changes a hundred times while eight clients send requests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from swapping import swap


def test_a_hundred_champion_changes_under_load_give_only_whole_answers(
    mlflow: Any, serve: Callable[..., Any], bundles: Path, secrets: Path, tmp_path: Path
) -> None:
    swap(100, mlflow, serve, bundles, secrets, tmp_path)
