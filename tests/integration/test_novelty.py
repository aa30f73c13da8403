"""What is unlike all of the training is called unknown, and what is like it is not."""

from typing import Any

import pytest

from conftest import told_by

pytestmark = [pytest.mark.integration, pytest.mark.full]


@pytest.fixture(scope="module")
def shares() -> Any:
    """The share of `unknown` among answers of networks that were fitted for some epochs."""
    return told_by("strange.py")


@pytest.mark.parametrize("kind", ["rows", "pretrained", "from nothing"])
def test_what_is_like_the_training_is_hardly_ever_unknown(shares: Any, kind: str) -> None:
    assert shares[kind]["known"] <= 0.06


@pytest.mark.parametrize(
    ("what", "least"),
    [("columns of other rows", 0.4), ("anywhere in range", 0.9), ("all zero", 0.9), ("a soil never seen", 0.9)],
)
def test_rows_from_no_forest_are_unknown(shares: Any, what: str, least: float) -> None:
    """A row whose columns come from different rows has nothing but plausible values: together they are impossible."""
    assert shares["rows"][what] >= least


@pytest.mark.parametrize(("begins", "least"), [("pretrained", 0.8), ("from nothing", 0.5)])
@pytest.mark.parametrize("what", ["noise", "one colour", "a ramp", "stripes"])
def test_pictures_that_are_no_pets_are_unknown(shares: Any, begins: str, least: float, what: str) -> None:
    assert shares[begins][what] >= least
