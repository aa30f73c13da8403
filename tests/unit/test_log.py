"""What a process logs: a JSON line an event, with the ids of the request; an unforeseen error is found by them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from common.executions import history
from common.log import CALL_ID, REQUEST_ID, JsonLines, log, set_up_log
from common.objects import FolderObjects
from common.pipelines import pick, read_pipelines
from common.settings import Settings
from common.web import make_app
from conftest import wait_until
from train.launch import Launcher


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """lines(): what was logged, as the process would write it."""
    REQUEST_ID.set(None)
    CALL_ID.set(None)
    caplog.set_level(logging.INFO, "sabueso")
    caplog.handler.setFormatter(JsonLines("classify"))
    return lambda: [json.loads(line) for line in caplog.text.splitlines()]


def test_a_line_tells_time_level_function_and_event(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log("asked train", logging.WARNING, pipeline="pets", outcome="a line\nbreak")
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    facts = {"pipeline": "pets", "outcome": "a line\nbreak"}
    assert line == {"level": "warning", "function": "classify", "event": "asked train", **facts}


def test_a_library_s_line_names_its_logger(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("urllib3").warning("retry %s", 3)
    assert [(line["logger"], line["event"]) for line in lines()] == [("urllib3", "retry 3")]


def test_an_unforeseen_error_is_found_by_the_request_id_that_its_answer_tells(
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
    assert (error["level"], error["event"]) == ("error", "unforeseen RuntimeError")
    assert "RuntimeError: a detail that callers don't get" in error["error"]
    assert "in broken" in error["error"]
    assert (access["event"], access["path"], access["status"]) == ("GET", "/broken", 500)
    identity = answer.get_json()["request_id"]
    assert identity == answer.headers["X-Request-Id"]
    assert {(line["request_id"], line["call_id"]) for line in (error, access)} == {(identity, "call-7")}


def test_a_call_that_succeeds_is_counted_and_not_logged(
    make_settings: Callable[..., Settings], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    client = make_app("classify", make_settings(), {}).test_client()
    assert [client.get(path).status_code for path in ("/openapi.json", "/nowhere")] == [200, 404]
    assert [line["path"] for line in lines()] == ["/nowhere"]


def test_the_log_of_a_training_has_the_ids_of_the_request_that_began_it(
    make_settings: Callable[..., Settings],
    store: FolderObjects,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    before = logging.getLogger().handlers[:]
    request.addfinalizer(lambda: setattr(logging.getLogger(), "handlers", before))
    set_up_log("train")
    tokens = [(REQUEST_ID, REQUEST_ID.set("request-1")), (CALL_ID, CALL_ID.set("call-1"))]
    for variable, token in tokens:
        request.addfinalizer(lambda variable=variable, token=token: variable.reset(token))
    settings = make_settings("flowers")  # there are no examples, so the child ends with a warning
    Launcher(settings, store).start(pick(read_pipelines(settings.pipelines), "flowers"), force=False)
    wait_until(lambda: history(store, "flowers", "train")[0].body["state"] != "running")
    found: list[dict[str, Any]] = []

    def read() -> bool:
        found.extend(json.loads(line) for line in capfd.readouterr().err.splitlines())
        return any(line["event"] == "job ended" for line in found)

    wait_until(read)
    assert {line["function"] for line in found} == {"train"}
    child, parent = [line for line in found if line["event"] != "asked"]
    assert (child["level"], child["logger"]) == ("warning", "sabueso.train")
    assert "logger" not in parent
    assert {(line.get("request_id"), line.get("call_id")) for line in found} == {("request-1", "call-1")}
