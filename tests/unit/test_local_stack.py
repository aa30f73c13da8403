"""Local runs read stack.yml: environment, secrets, schedule."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from local.demo import function_settings, read_arguments
from local.stack import local_environment, read_stack
from local.system import System
from local.walkthrough import seconds_between


def functions(**environment: str) -> dict[str, object]:
    return {function.name: function for function in read_stack(environment)}


def test_variables_of_the_stack_are_resolved_with_their_defaults() -> None:
    (fetch,) = [
        function for function in read_stack({"COVERTYPE_API_URL": "http://x"}) if function.name == "fetch-batch"
    ]
    assert fetch.environment["COVERTYPE_API_URL"] == "http://x"
    assert fetch.environment["COVERTYPE_GROUP"] == "1"
    assert fetch.environment["PETS_SOURCE"] == ""


def test_only_fetch_batch_has_a_schedule() -> None:
    schedules = {function.name: function.schedule for function in read_stack({})}
    assert schedules == {"fetch-batch": "*/5 * * * *", "train": None, "classify": None}


def test_a_process_gets_stack_yml_and_overrides_and_nothing_else_of_the_shell(tmp_path: Path) -> None:
    (classify,) = [function for function in read_stack({}) if function.name == "classify"]
    machine = {"PATH": "/bin", "EDITOR": "vi", "AWS_SECRET_ACCESS_KEY": "x", "SABUESO_CALLS": "2"}
    found = local_environment(classify, machine, 1234, tmp_path, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    assert (found["PORT"], found["FUNCTION"], found["SABUESO_CALLS"]) == ("1234", "classify", "2")
    assert found["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"
    assert not {"EDITOR", "AWS_SECRET_ACCESS_KEY"} & set(found)


def test_secrets_are_created_once_and_readable_only_by_their_owner(tmp_path: Path) -> None:
    system = System(tmp_path / "home", 0, {})
    system.claim()
    first = system.token()
    system.stop()
    again = System(tmp_path / "home", 0, {})
    again.claim()
    assert again.token() == first
    assert (tmp_path / "home" / "secrets" / "train-token").stat().st_mode & 0o077 == 0
    again.stop()


def test_requests_to_a_foreign_source_back_off() -> None:
    waits = seconds_between(None)
    assert [next(waits) for _ in range(6)] == [5, 10, 20, 40, 60, 60]


def test_made_up_data_get_a_short_budget_unless_the_caller_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SABUESO_BUDGET_S", "SABUESO_REFRESH_S"):
        monkeypatch.delenv(name, raising=False)
    demo = SimpleNamespace(made_up={"pets"})
    assert function_settings(read_arguments([]), demo)["SABUESO_BUDGET_S"] == "pets=50"
    monkeypatch.setenv("SABUESO_BUDGET_S", "7")
    settings = function_settings(read_arguments([]), demo)
    assert ("SABUESO_BUDGET_S" in settings, "SABUESO_REFRESH_S" in settings) == (False, True)
