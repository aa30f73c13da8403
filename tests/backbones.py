"""What must hold of a backbone, by the figures that tests/transfer.py prints."""

from typing import Any


def check_network(found: dict[str, Any]) -> None:
    """It sees what Keras's own network sees, from each kind of file, and so does what is exported."""
    assert found["apart"]
    assert all(apart < 1e-4 * found["large"] for apart in found["apart"].values()), found
    learning, of_all = found["learning"]
    assert 0 < learning < of_all / 2
    assert not found["norms_learn"]
    check_export(found)


def check_export(found: dict[str, Any]) -> None:
    assert found["export"] < 1e-4
    assert found["bytes"] < 4 * found["weights"] + 2e6
