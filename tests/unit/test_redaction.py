"""What is shown of a URL never holds an account, a query or a fragment, alone or within a text."""

import json
import logging
from collections.abc import Callable

import pytest

from all_settings import AllSettings as Settings
from common.errors import FieldError, RegistryUnavailable, SabuesoError
from common.logging import JsonLines
from common.redaction import redact, shown_url, without_account
from common.registry import Registry

SECRET = "p4ss-Zq9"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://ana:{SECRET}@host:8443/a/b.zip?sig={SECRET}#{SECRET}", "https://host:8443/a/b.zip"),
        (f"http://{SECRET}@host", "http://host"),
        (f"http://ana:x@{SECRET}@host/", "http://host/"),
        (f"http://ana:x {SECRET}'\"@host/", "http://host/"),
        (f"http://host?key={SECRET}", "http://host"),
        (f"HTTP://ana:{SECRET}@host/", "http://host/"),
        (f"s3://ana:{SECRET}@bucket/prefix", "s3://bucket/prefix"),
        # Passwords that should have been escaped: a part of them may be anywhere.
        (f"http://ana:x/{SECRET}@host/", "http://***"),
        (f"http://ana:12#{SECRET}@host/", "http://***"),
        (f"http://[ana:{SECRET}@host/", "http://***"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("http://[::1]:9000/", "http://[::1]:9000/"),
        ("/data/what?.csv", "/data/what?.csv"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"no connection to (http://ana:{SECRET}@host/d?k={SECRET}).", "no connection to (http://host/d)."),
        (
            f"retries exceeded with url: /data?key={SECRET} (Caused",
            "retries exceeded with url: /data (Caused",
        ),
        (f"'mlflow': ana:{SECRET}@mlflow:5000", "'mlflow': ***@mlflow:5000"),
        (f'data come from http://h/d {{"api_key": "{SECRET}"}}, but', "data come from http://h/d, but"),
        ("ask ana@example.org at 12:30; why? see docs/a.md#b", "ask ana@example.org at 12:30; why? see docs/a.md#b"),
        ("http://host is down; ask ana@example.org", "http://host is down; ask ana@example.org"),
    ],
)
def test_a_text_is_shown_without_what_may_be_secret(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_a_link_keeps_its_fragment() -> None:
    assert without_account(f"http://ana:{SECRET}@host/#/runs/1") == "http://host/#/runs/1"


def test_no_error_holds_the_account_of_a_url() -> None:
    error = SabuesoError(f"at http://ana:{SECRET}@h/", (FieldError("url", f"http://ana:{SECRET}@h/: wrong"),))
    for text in (error.detail, str(error), error.errors[0].detail, RegistryUnavailable(f"x:{SECRET}@h", "").detail):
        assert SECRET not in text


def test_no_service_is_named_with_its_account(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(MLFLOW_TRACKING_URI=f"http://ana:x {SECRET}@mlflow:5000")
    assert (Registry(settings).where, settings.mlflow_url) == ("http://mlflow:5000", "http://mlflow:5000")


def test_no_log_line_holds_the_account_or_the_query_of_a_url() -> None:
    url = f"http://ana:{SECRET}@h/d?key={SECRET}"
    try:
        raise ValueError(f"can't open {url}")
    except ValueError as error:
        facts = {"url": url, "list": [url, 7, None], "table": {url: url}, "object": ValueError(url)}
        record = logging.LogRecord(
            "urllib3", logging.ERROR, "", 0, "retry %s", (url,), (ValueError, error, error.__traceback__)
        )
    record.facts = facts
    line = JsonLines("train").format(record)
    assert SECRET not in line
    read = json.loads(line)
    assert (read["event"], read["list"]) == ("retry http://h/d", ["http://h/d", 7, None])
    assert "ValueError: can't open http://h/d" in read["error"]
