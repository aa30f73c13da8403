"""Checks of a backbone, by the numbers that tests/transfer_learning.py prints."""

from typing import Any


def check_network(result: dict[str, Any]) -> None:
    """From each kind of file the backbone computes what Keras's own network computes; its export does too."""
    assert result["differences"]
    assert all(difference < 1e-4 * result["largest_output"] for difference in result["differences"].values()), result
    trainable, variables = result["trainable"]
    assert 0 < trainable < variables / 2
    assert not result["batch_norms_trainable"]
    check_export(result)


def check_export(result: dict[str, Any]) -> None:
    assert result["export_difference"] < 1e-4
    assert result["bytes"] < 4 * result["weights"] + 2e6
