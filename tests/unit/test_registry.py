"""Errors made of MLflow's answers: which service is down or refuses, and what to do."""

import pytest

from common.errors import RegistryUnavailable
from common.registry import refusal


@pytest.mark.parametrize(
    ("status", "text", "advice"),
    [
        (401, "You are not authenticated.", "secret train-mlflow-password"),
        (403, "Invalid Host header", "MLFLOW_ALLOWED_HOSTS"),
        (403, "Permission denied", "This account lacks the permission"),
        (503, '(pymysql.err.OperationalError) (2003, "Can\'t connect to MySQL server")', "database does not answer"),
        (400, "(psycopg2.OperationalError) connection refused", "database does not answer"),
        (500, "Could not connect to the endpoint URL: http://minio", "artifact store does not answer"),
        (500, "An error occurred (AccessDenied) when calling GetObject", "refused it (AccessDenied)"),
        (500, "An error occurred (NoSuchBucket) when calling PutObject", "Check MLflow's own key and bucket"),
        (
            500,
            "An error occurred (XMinioStorageFull) when calling PutObject",
            "is full (XMinioStorageFull). Make room there",
        ),
        (500, "An error occurred (XMinioAdminBucketQuotaExceeded) when calling PutObject", "Make room there"),
        (502, "", "Check its log"),
        (429, "slow down", "Check its log"),
    ],
)
def test_an_outage_is_unavailable_with_advice(make_settings, status, text, advice):
    error = refusal(make_settings(FUNCTION="train"), "a call answered", status, text)
    assert isinstance(error, RegistryUnavailable)
    assert advice in error.detail


@pytest.mark.parametrize(("status", "text"), [(400, "INVALID_PARAMETER_VALUE: bad name"), (404, "no such page")])
def test_a_refusal_that_waiting_does_not_help_quotes_mlflow(make_settings, status, text):
    error = refusal(make_settings(), "a call answered", status, text)
    assert not isinstance(error, RegistryUnavailable)
    assert text in error.detail


def test_a_value_too_long_for_the_database_is_not_reported_as_an_outage(make_settings):
    error = refusal(make_settings(), "a call answered 500", 500, "(pymysql.err.DataError) (1406, 'Data too long')")
    assert "does not answer" not in error.detail
