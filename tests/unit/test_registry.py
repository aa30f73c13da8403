"""What MLflow's answers mean for a person: who does not answer, what is refused, and what to do."""

import pytest

from common.errors import RegistryUnavailable
from common.registry import refusal


@pytest.mark.parametrize(
    ("status", "told", "words"),
    [
        (401, "You are not authenticated.", "secret train-mlflow-password"),
        (403, "Invalid Host header", "MLFLOW_ALLOWED_HOSTS"),
        (403, "Permission denied", "This account may not do that"),
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
        (502, "", "Look at its log"),
        (429, "slow down", "Look at its log"),
    ],
)
def test_what_time_or_a_person_mends_is_unavailable_with_what_to_do(make_settings, status, told, words):
    found = refusal(make_settings(FUNCTION="train"), "a call answered", status, told)
    assert isinstance(found, RegistryUnavailable)
    assert words in found.detail


@pytest.mark.parametrize(("status", "told"), [(400, "INVALID_PARAMETER_VALUE: bad name"), (404, "no such page")])
def test_what_no_waiting_mends_is_told_as_mlflow_says_it(make_settings, status, told):
    found = refusal(make_settings(), "a call answered", status, told)
    assert not isinstance(found, RegistryUnavailable)
    assert told in found.detail


def test_rows_too_long_for_the_database_are_no_outage_of_it(make_settings):
    found = refusal(make_settings(), "a call answered 500", 500, "(pymysql.err.DataError) (1406, 'Data too long')")
    assert "does not answer" not in found.detail
