"""A training retries while a service is down, reports that it waits, and gives up in time."""

import pytest

import train.retry
from common.errors import NotFound, RegistryUnavailable
from train.retry import RetryPolicy


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(train.retry, "FIRST_PAUSE_S", 0.001)


def failing(times, error=None):
    """A call that fails that often, then returns 7."""
    left = [times]

    def call():
        if left[0]:
            left[0] -= 1
            raise error or RegistryUnavailable("http://mlflow", "no connection")
        return 7

    return call


def test_success_at_the_first_attempt_reports_nothing():
    reports = []
    assert RetryPolicy(60, reports.append)(failing(0)) == 7
    assert reports == []


def test_retries_until_the_service_is_back_and_reports_both():
    reports = []
    assert RetryPolicy(60, reports.append)(failing(3)) == 7
    assert len(reports) == 2
    assert "http://mlflow" in reports[0]
    assert reports[1] is None


def test_gives_up_with_the_services_own_error():
    with pytest.raises(RegistryUnavailable):
        RetryPolicy(0.05, lambda reason: None)(failing(1000))


def test_permanent_errors_are_raised_at_once():
    reports = []
    with pytest.raises(NotFound):
        RetryPolicy(60, reports.append)(failing(1, NotFound("no such version")))
    assert reports == []
