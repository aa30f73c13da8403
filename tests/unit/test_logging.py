"""The log: one JSON line an event, with the request's ids, by which an unexpected error can be found."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from all_settings import AllSettings as Settings
from common.logging import CALL_ID, REQUEST_ID, JsonLines, log, set_up_log
from common.pipeline_files import read_pipelines
from common.pipelines import pick
from common.storage.executions import newest
from common.storage.folder import FolderStore
from common.storage.training_record import TrainingRecord
from common.web import make_app
from conftest import wait_until
from train.supervisor import Supervisor


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """lines(): the logged lines, parsed."""
    REQUEST_ID.set(None)
    CALL_ID.set(None)
    caplog.set_level(logging.INFO, "sabueso")
    caplog.handler.setFormatter(JsonLines("classify"))
    return lambda: [json.loads(line) for line in caplog.text.splitlines()]


def test_a_line_has_time_level_function_and_event(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log("called train", logging.WARNING, pipeline="pets", outcome="a line\nbreak")
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    facts = {"pipeline": "pets", "outcome": "a line\nbreak"}
    assert line == {"level": "warning", "function": "classify", "event": "called train", **facts}


def test_a_library_s_line_names_its_logger(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("urllib3").warning("retry %s", 3)
    assert [(line["logger"], line["event"]) for line in lines()] == [("urllib3", "retry 3")]


def test_the_request_id_of_an_answer_finds_the_logged_error(
    make_settings: Callable[..., Settings], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    app = make_app("classify", make_settings(), {})

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("a detail that callers don't get")

    answer = app.test_client().get("/broken", headers={"X-Call-Id": "call-7"})
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "a detail" not in answer.text
    error, access = lines()
    assert (error["level"], error["event"]) == ("error", "unexpected error")
    assert "RuntimeError: a detail that callers don't get" in error["error"]
    assert "in broken" in error["error"]
    assert (access["event"], access["method"], access["status"]) == ("request failed", "GET", 500)
    assert access["path"] == "/broken"
    identity = answer.get_json()["request_id"]
    assert identity == answer.headers["X-Request-Id"]
    assert {(line["request_id"], line["call_id"]) for line in (error, access)} == {(identity, "call-7")}


def test_only_failed_calls_are_logged(
    make_settings: Callable[..., Settings], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    client = make_app("classify", make_settings(), {}).test_client()
    assert [client.get(path).status_code for path in ("/openapi.json", "/nowhere")] == [200, 404]
    assert [line["path"] for line in lines()] == ["/nowhere"]


def test_the_log_of_a_training_has_the_ids_of_the_request_that_started_it(
    make_settings: Callable[..., Settings],
    store: FolderStore,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = logging.getLogger().handlers[:]
    request.addfinalizer(lambda: setattr(logging.getLogger(), "handlers", before))
    # Not capfd: what a thread writes while pytest reads and empties its file would be lost.
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    set_up_log("train")
    tokens = [(REQUEST_ID, REQUEST_ID.set("request-1")), (CALL_ID, CALL_ID.set("call-1"))]
    for variable, token in tokens:
        request.addfinalizer(lambda variable=variable, token=token: variable.reset(token))
    settings = make_settings("flowers")  # without examples, so the job ends with a warning
    Supervisor(settings, store).start(pick(read_pipelines(settings.pipelines), "flowers"), force=False)
    wait_until(lambda: not newest(store, "flowers", TrainingRecord).record.is_running)  # type: ignore[union-attr]
    wait_until(lambda: '"job ended"' in output.getvalue())
    logged = [json.loads(line) for line in output.getvalue().splitlines()]
    assert {line["function"] for line in logged} == {"train"}
    child, parent = logged
    assert (child["level"], child["event"], child["state"]) == ("warning", "training ended", "failed")
    assert (parent["level"], parent["event"]) == ("info", "job ended")
    assert {(line.get("request_id"), line.get("call_id")) for line in logged} == {("request-1", "call-1")}
