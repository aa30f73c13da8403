"""Inputs unlike the training data are `unknown`; inputs like them are not."""

from typing import Any

import pytest

from conftest import printed_json

pytestmark = [pytest.mark.integration, pytest.mark.full]


@pytest.fixture(scope="module")
def shares() -> Any:
    """The share of `unknown` among the answers of networks that were fitted for a few epochs."""
    return printed_json("unknown_shares.py")


@pytest.mark.parametrize("kind", ["rows", "pretrained", "from scratch"])
def test_inputs_like_the_training_data_are_rarely_unknown(shares: Any, kind: str) -> None:
    assert shares[kind]["known"] <= 0.06


@pytest.mark.parametrize(
    ("change", "min_share"),
    [("columns of other rows", 0.4), ("anywhere in range", 0.9), ("all zero", 0.9), ("an unseen soil", 0.9)],
)
def test_impossible_rows_are_unknown(shares: Any, change: str, min_share: float) -> None:
    """A row with columns from different rows has plausible values in an impossible combination."""
    assert shares["rows"][change] >= min_share


@pytest.mark.parametrize(("start", "min_share"), [("pretrained", 0.8), ("from scratch", 0.5)])
@pytest.mark.parametrize("picture", ["noise", "one colour", "a ramp", "stripes"])
def test_pictures_without_pets_are_unknown(shares: Any, start: str, min_share: float, picture: str) -> None:
    assert shares[start][picture] >= min_share
