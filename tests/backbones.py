"""What must hold of a backbone, by the figures that tests/transfer.py prints."""

from typing import Any


def check_network(found: dict[str, Any]) -> None:
    """It answers as Keras means it, in the network that trains and in the one that is exported."""
    assert found["fresh"] > 0.01 * found["large"]
    assert all(apart < 1e-4 * found["large"] for apart in found["apart"].values()), found
    assert found["export"] < 1e-4
    # The picture and its mirror image go through the same weights.
    assert found["bytes"] < 4 * found["weights"] + 1e6
    # What keras.applications needs the global setting for is set back.
    assert found["policy"] == "float32"
