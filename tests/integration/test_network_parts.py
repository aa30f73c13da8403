"""What a fit computes in its own, quicker way is what Keras computes."""

from typing import Any

import pytest

from conftest import told_by

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return dict(told_by("network_parts.py"))


def test_steps_of_muon_are_those_of_keras_for_matrices_of_any_form(found: dict[str, Any]) -> None:
    assert len(found["orthogonal"]) == 5
    assert max(found["orthogonal"].values()) < 1e-3, found["orthogonal"]


def test_kernels_of_convolutions_go_by_muon_where_networks_begin_from_nothing(found: dict[str, Any]) -> None:
    muon, adamw = found["convolution"]
    assert muon > 0.3
    assert adamw < 0.2


def test_norm_as_one_operation_gives_what_batch_normalization_gives(found: dict[str, Any]) -> None:
    assert max(found["norm"].values()) < 1e-4, found["norm"]
