"""A training waits for what went away, tells that it does, and gives up in time."""

import pytest

from common.errors import NotFound, RegistryUnavailable
from train import patience
from train.patience import Patience


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


def away(times, error=None):
    """A call that fails so often, then gives 7."""
    left = [times]

    def call():
        if left[0]:
            left[0] -= 1
            raise error or RegistryUnavailable("http://mlflow", "no connection")
        return 7

    return call


def test_a_call_that_works_at_once_tells_nothing():
    told = []
    assert Patience(60, told.append)(away(0)) == 7
    assert told == []


def test_it_waits_until_the_service_is_back_and_says_why_and_when_that_is_over():
    told = []
    assert Patience(60, told.append)(away(3)) == 7
    assert len(told) == 2
    assert "http://mlflow" in told[0]
    assert told[1] is None


def test_it_gives_up_with_the_services_own_error():
    with pytest.raises(RegistryUnavailable):
        Patience(0.05, lambda why: None)(away(1000))


def test_what_no_waiting_mends_is_raised_at_once():
    told = []
    with pytest.raises(NotFound):
        Patience(60, told.append)(away(1, NotFound("no such version")))
    assert told == []
